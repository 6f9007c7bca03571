"""Which rank has which role, and when do ranks receive, send and decode?"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from streamtwin.core.cards import Cards, Links, count_of, listed, or_cards
from streamtwin.core.choices import OneOf
from streamtwin.core.errors import ScenarioError
from streamtwin.core.policies.router import ROUTER
from streamtwin.core.section import MAX_RANKS, MAX_REPLICAS, Section
from streamtwin.core.sequence import Parallelism, stage_members


class Layout(Section):
    """Ranks, their roles, and the protocol between them: a part of a scenario's deployment."""

    gpus: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_RANKS,
            description="ranks, one device each: their number, or a list of {gpu, count, profile}",
            json_schema_extra=or_cards,
        ),
    ] = 1
    fleet: Annotated[
        list[Cards],
        Field(description="the list that `gpus` may be, where it is one; then `gpus` counts it"),
    ] = Field([])
    hosts: Annotated[
        list[Annotated[int, Field(ge=1)]] | None,
        Field(description="ranks of each host in rank order; null: all on one"),
    ] = None
    links: Links = Links()
    replicas: Annotated[
        int, Field(ge=1, le=MAX_REPLICAS, description="copies of the pipeline behind a router")
    ] = 1
    router: Annotated[str, OneOf(ROUTER)] = "round_robin"
    weights: Annotated[
        Literal["sharded", "replicated"],
        Field(
            description="a rank holds its own blocks, or those of the whole model (simulate only)"
        ),
    ] = "sharded"
    context: Annotated[
        Literal["window", "chunk"],
        Field(
            description="frames attended: the window; or the chunk's own, both ways (simulate only)"
        ),
    ] = "window"
    reserve_bytes: Annotated[
        float,
        Field(
            ge=0, description="memory of a card that the pipeline cannot have: driver, libraries"
        ),
    ] = 2e9
    parallelism: Annotated[
        Parallelism, Field(description="ranks in a row; or in groups that share every pass")
    ] = "pipeline"
    sequence_ranks: Annotated[
        int | None,
        Field(ge=1, description="ranks of each stage with ulysses or ring; null: all of them"),
    ] = None
    protocol: Annotated[
        Literal["sdv2", "overlap"],
        Field(description="receives when asked for, or posted ahead so that transfers hide"),
    ] = "sdv2"
    wrap_activations: Annotated[
        bool | None,
        Field(description="send rank 0 the hidden state; null: if protocol sdv2, placement edge"),
    ] = None
    decode: Annotated[
        Literal["after_send", "before_send"] | None,
        Field(description="when the last rank decodes; null: after_send"),
    ] = None
    vae_placement: Annotated[
        Literal["edge", "dedicated"],
        Field(description="VAE on the first and last rank of blocks, or on ranks of its own"),
    ] = "edge"

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, data: Any) -> Any:  # noqa: ANN401 - what a file says, unchecked
        return listed(data)

    @model_validator(mode="after")
    def _placed(self) -> "Layout":
        if self.fleet and count_of(self.fleet) != self.gpus:
            raise ScenarioError(
                f"deployment.gpus = {self.gpus}, but deployment.fleet has {count_of(self.fleet)} "
                "cards: give the list as deployment.gpus alone"
            )
        if self.hosts is not None and sum(self.hosts) != self.gpus:
            raise ScenarioError(
                f"deployment.hosts = {self.hosts} has {sum(self.hosts)} ranks, deployment.gpus = "
                f"{self.gpus}: the counts must add up to it"
            )
        if self.dedicated and self.gpus < 3:
            raise ScenarioError(
                f"deployment.vae_placement = 'dedicated' with gpus = {self.gpus}: one rank "
                "encodes and one decodes, so choose at least 3, or 'edge'"
            )
        if self.dedicated and self.decode is not None:
            raise ScenarioError(
                f"deployment.decode = {self.decode!r} with vae_placement = 'dedicated': the rank "
                "that decodes sends nothing on, so leave it null"
            )
        self.members  # noqa: B018 - refuses ranks that cannot be grouped
        return self

    @property
    def dedicated(self) -> bool:
        """Whether the VAE has ranks of its own."""
        return self.vae_placement == "dedicated"

    @property
    def members(self) -> int:
        """G: ranks that share the passes of a stage."""
        return stage_members(
            self.parallelism, self.gpus, self.sequence_ranks, vae_ranks=2 * self.dedicated
        )

    @property
    def block_stages(self) -> int:
        """Stages of blocks, of G ranks each."""
        return (self.gpus - 2 * self.dedicated) // self.members

    @property
    def ring(self) -> int:
        """W: stages of the ring, and its lanes. A decoder of its own hangs off the ring."""
        return self.block_stages + self.dedicated

    @property
    def leaders(self) -> tuple[int, ...]:
        """The rank that leads each stage: those of the ring in order, then a decoder of its own."""
        first, G = int(self.dedicated), self.members
        blocks = range(first, first + self.block_stages * G, G)
        return (0, *blocks, self.gpus - 1) if self.dedicated else tuple(blocks)

    @property
    def overlaps(self) -> bool:
        """Whether a rank posts the receive of its next item before it asks for it."""
        return self.protocol == "overlap"

    @property
    def wraps_activations(self) -> bool:
        """Whether the last rank of blocks sends rank 0 the hidden state, which nobody needs there.

        The reference's ranks do, unless the scenario says otherwise.
        """
        if self.wrap_activations is not None:
            return self.wrap_activations
        return not (self.overlaps or self.dedicated)

    @property
    def decodes_before_send(self) -> bool:
        """Whether the last rank decodes a chunk before it sends the result to rank 0."""
        return self.decode == "before_send"
