"""What does `streamtwin run` do in a process that torchrun started?"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from streamtwin.core.errors import ScenarioError, UserError
from streamtwin.core.scenario import Scenario

if TYPE_CHECKING:
    from streamtwin.runtime.crew import Crew
    from streamtwin.runtime.seat import Seat


def find_seat() -> "Seat | None":
    """This process's place among the ranks that a launcher started; None where it stands alone."""
    from streamtwin.runtime.seat import seat_of  # noqa: PLC0415

    return seat_of(os.environ)


def refuse_seat(command: str) -> None:
    """Refuse to be started once a rank.

    Raises:
        UserError: this process is one of many.
    """
    if find_seat() is not None:
        raise UserError(
            f"{command} starts its ranks itself: start it once, without torchrun "
            "(RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are set)"
        )


def check_world(scenario: Scenario, seat: "Seat") -> None:
    """Refuse to spread *scenario* over another number of processes than it has ranks.

    Raises:
        ScenarioError: names both.
    """
    gpus = scenario.deployment.gpus
    if gpus != seat.ranks:
        raise ScenarioError(
            f"deployment.gpus = {gpus}, but {seat.ranks} processes were started (WORLD_SIZE): "
            f"start {gpus}, or set deployment.gpus={seat.ranks}"
        )


def run_seated(seat: "Seat", hang_timeout_s: float, lead: Callable[["Crew"], None]) -> None:
    """Take *seat*: as rank 0 with *lead*, as another with what rank 0 orders.

    Raises:
        RunError: a rank failed; names this one and the cause.
        UserError: what the user gave is wrong, wherever that was found.
    """
    from streamtwin.runtime.crew import join_crew  # noqa: PLC0415
    from streamtwin.runtime.crew_run import follow_crew  # noqa: PLC0415

    crew = join_crew(seat, hang_timeout_s)
    try:
        lead(crew) if seat.rank == 0 else follow_crew(crew)
    except BaseException as error:
        words = crew.last_words(error)
        if words is error:
            raise
        raise words from error
