"""What may a scenario ask about the partition: its beginning, and how it may change?"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from streamtwin.core.choices import OneOf
from streamtwin.core.errors import ScenarioError
from streamtwin.core.policies.partition import PARTITION
from streamtwin.core.policies.rebalance import REBALANCE
from streamtwin.core.section import Section


class Partition(Section):
    """Which blocks each rank holds."""

    policy: Annotated[str, OneOf(PARTITION)] = "even"
    blocks: Annotated[
        list[int] | None,
        Field(description="blocks of each rank in order, instead of what the policy decides"),
    ] = None
    rebalance: Annotated[
        Literal["never", "once", "continuous"] | None,
        Field(
            description="when blocks move while the stream runs; null: as the policy's name says"
        ),
    ] = None
    after_items: Annotated[
        int | None,
        Field(
            ge=0, description="item behind which rebalancing begins; null: once all are measured"
        ),
    ] = None
    least_blocks: Annotated[
        int,
        Field(
            ge=0,
            le=1,
            description="blocks that every rank keeps; 0: a rank may be left with its ends alone",
        ),
    ] = 1
    every_items: Annotated[
        int, Field(ge=1, description="items between two looks of a continuous rebalancing")
    ] = 8
    margin: Annotated[
        float, Field(ge=0, le=1, description="share by which the slowest rank must become faster")
    ] = 0.05
    horizon_s: Annotated[
        float,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="time within which a move must pay, and by which it is forgotten",
        ),
    ] = 30.0
    factor: Annotated[
        float, Field(ge=1, le=1000, description="times its own cost that a move must save")
    ] = 2.0
    schedule: Annotated[
        dict[Annotated[int, Field(ge=0)], list[int]],
        Field(
            description="blocks of each rank by the item behind which they hold, whatever happens"
        ),
    ] = Field({})

    @property
    def trigger(self) -> Literal["never", "once", "continuous"]:
        """When the policy is asked again: never, unless the scenario or its name says so."""
        return self.rebalance or ("once" if self.policy == "sdv2_once" else "never")

    @model_validator(mode="after")
    def _consistent(self) -> "Partition":
        if self.trigger == "never":
            return self
        asked = f"deployment.partition.rebalance = {self.trigger!r} with policy = {self.policy!r}"
        if self.policy not in REBALANCE:
            known = ", ".join(REBALANCE)
            raise ScenarioError(f"{asked}, which weighs no times: choose one of {known}")
        if self.policy == "sdv2_once" and self.trigger == "continuous":
            raise ScenarioError(f"{asked}, which moves once: choose greedy or optimal")
        if self.least_blocks == 0 and self.policy != "sdv2_once":
            raise ScenarioError(
                f"{asked}, and least_blocks = 0, which only sdv2_once can mean: a rank without "
                "blocks tells no other policy what one would cost there"
            )
        if self.schedule:
            raise ScenarioError(
                f"{asked}: deployment.partition.schedule leaves it nothing to decide"
            )
        return self
