"""Which engine computes a run? SimPy's events are the reference; the recurrence gives the same."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, get_args

from streamtwin.core.brief import cut
from streamtwin.core.errors import ScenarioError, UserError
from streamtwin.core.motion import Motion
from streamtwin.core.plan import Plan
from streamtwin.sim.epochs import play_epochs
from streamtwin.sim.events import play_events
from streamtwin.sim.log import RunLog
from streamtwin.sim.recurrence import applies, play_recurrence
from streamtwin.sim.station import Station
from streamtwin.sim.timing import Timing

Engine = Literal["auto", "simpy", "recurrence"]

Play = Callable[[Plan, Timing, RunLog, Sequence[Motion]], list[Station]]


def play_simpy(plan: Plan, timing: Timing, log: RunLog, motion: Sequence[Motion]) -> list[Station]:
    """Play *plan* into *log* with SimPy: in one go, or from one death of a rank to the next."""
    play = play_epochs if plan.scenario.trouble.lost_ranks else play_events
    return play(plan, timing, log, motion)


PLAYERS: Mapping[str, Play] = MappingProxyType({"simpy": play_simpy, "recurrence": play_recurrence})


ENGINES: tuple[Engine, ...] = get_args(Engine)


def engine_named(name: str) -> Engine:
    """The engine of that *name*.

    Raises:
        UserError: there is none; names the choices.
    """
    for engine in ENGINES:
        if engine == name:
            return engine
    raise UserError(f"--engine {cut(name)}: choose one of {', '.join(ENGINES)}")


def set_aside(plan: Plan, asked: Engine) -> dict[str, str]:
    """Why `auto` did not take the recurrence for *plan*, for the provenance; nothing where it did."""
    refusal = applies(plan) if asked == "auto" else None
    return {} if refusal is None else {"recurrence": f"does not apply: {refusal}"}


def engine_for(plan: Plan, asked: Engine) -> str:
    """The engine that computes *plan*: the one *asked* for; `auto`: the recurrence if it applies.

    Raises:
        ScenarioError: the recurrence was asked for and does not apply; says why.
    """
    refusal = applies(plan)
    if asked == "recurrence" and refusal is not None:
        raise ScenarioError(
            f"{plan.scenario.name}: engine 'recurrence' does not apply: {refusal}; choose 'simpy', "
            "or 'auto', which takes the recurrence where it applies"
        )
    return "simpy" if asked == "simpy" or refusal is not None else "recurrence"
