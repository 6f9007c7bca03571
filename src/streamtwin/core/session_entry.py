"""Under which rules does a session begin, wait at the door, or is sent away?"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from streamtwin.core.choices import OneOf
from streamtwin.core.errors import ScenarioError
from streamtwin.core.policies.session_admission import SESSION_ADMISSION
from streamtwin.core.section import MAX_SESSIONS, Positive, Section


class Entry(Section):
    """Admission of sessions."""

    policy: Annotated[str, OneOf(SESSION_ADMISSION)] = "accept_all"
    room: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_SESSIONS,
            description="sessions at once, under policy: memory; null: what the ranks' memory holds",
        ),
    ] = None
    max_queued: Annotated[
        int, Field(ge=0, le=MAX_SESSIONS, description="sessions that may wait at the door")
    ] = 0
    full: Annotated[
        Literal["drop_newest", "drop_oldest"],
        Field(description="who is sent away when one more comes than may wait"),
    ] = "drop_newest"
    patience_s: Annotated[
        Positive | None, Field(description="seconds after which who waits leaves; null: never")
    ] = None

    @model_validator(mode="after")
    def _meant(self) -> "Entry":
        if self.policy == "accept_all" and (self.max_queued or self.patience_s or self.room):
            raise ScenarioError(
                "workload.entry: policy = 'accept_all' lets everybody in: room, max_queued and "
                f"patience_s mean nothing; choose one of {', '.join(SESSION_ADMISSION)}"
            )
        if self.room is not None and "memory" not in self.policy:
            raise ScenarioError(
                f"workload.entry.room = {self.room} means nothing to policy = {self.policy!r}; "
                "choose memory or memory_and_slack"
            )
        return self

    @property
    def unpredicted(self) -> "Entry":
        """The same, but for what weighs predicted times."""
        plain = {"predicted_slack": "accept_all", "memory_and_slack": "memory"}
        return self.model_copy(update={"policy": plain.get(self.policy, self.policy)})
