"""At which chunks do temporal positions restart, and what does the policy see there?"""

from collections.abc import Mapping
from dataclasses import asdict

from streamtwin.core.policies.rope import ROPE, PositionView
from streamtwin.core.scenario import Scenario


def restart_at(scenario: Scenario, ordinal: int) -> tuple[PositionView, int] | None:
    """The view and the position of a session's chunk number *ordinal*, if positions restart there."""
    name = scenario.conditioning.rope_refresh
    if ordinal == 0 or name == "never":
        return None
    before, view = (
        scenario.position_view(scenario.shape.first_latent(one)) for one in (ordinal - 1, ordinal)
    )
    position = ROPE[name](view)
    goes_on = position - ROPE[name](before) == view.frame - before.frame
    return None if goes_on else (view, position)


def saw_of(view: PositionView) -> dict[str, float]:
    """*view* as numbers by name, for the record; `seen` reads it back."""
    return asdict(view)


def seen(saw: Mapping[str, float]) -> PositionView:
    """The view that a record of it stands for."""
    return PositionView(**{name: int(number) for name, number in saw.items()})
