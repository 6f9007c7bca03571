"""In which words is it said where two decision logs part?"""

from streamtwin.core.decision_log import Difference, Logged
from streamtwin.reports.decisions import AskedAgain, Beside, Validated

OF_ITEMS = frozenset({"batching", "rebalance"})
"""Families that decide about turns of the ring and not about chunks."""
SHOWN = 3
"""Observations that differ and are named in one line."""


def words_again(one: AskedAgain) -> str:
    """What asking again has shown, in one line."""
    if one.difference is None:
        return f"{one.decisions} decisions, identical when their policies are asked again"
    return f"asked again on what it saw, a policy differs: {in_a_line(one.difference)}"


def words_beside(one: Beside) -> str:
    """How far two logs are alike, in one line."""
    if one.difference is None:
        return "identical"
    alike = sum(tally.alike for tally in one.families.values())
    seconds = sum(tally.but_for_seconds for tally in one.families.values())
    longest = sum(max(tally.here, tally.there) for tally in one.families.values())
    counts = f"{alike} of {longest} alike, {seconds} more but for seconds that were seen"
    if one.beyond_seconds is None:
        return f"{counts}; first at {in_a_line(one.difference)}"
    return f"{counts}; what differs in more than seconds, first at {in_a_line(one.beyond_seconds)}"


def in_a_line(one: Difference) -> str:
    """Which decision it is, what each saw that the other did not, and what each chose."""
    told = [
        f"{name} {_of(one.here, name)} and {_of(one.there, name)}" for name in one.unlike[:SHOWN]
    ]
    more = f" and {len(one.unlike) - SHOWN} more" if len(one.unlike) > SHOWN else ""
    saw = f"saw {', '.join(told)}{more}; " if told else ""
    return f"{title(one)}: {saw}chose {chosen(one.here)} and {chosen(one.there)}"


def title(one: Difference) -> str:
    """Which decision it is: number in its log, family, policy, whom it is about, when."""
    first, decision = one.first, one.first.decision
    return (
        f"decision {first.number} ({decision.family} {decision.policy!r}, {about(first)}, "
        f"{decision.time_s:.4f} s)"
    )


def about(one: Logged | None) -> str:
    """Whom a decision is about, or which item of the ring."""
    if one is None:
        return "-"
    decision = one.decision
    if decision.family in OF_ITEMS:
        return f"item {decision.chunk}"
    chunk = f", chunk {decision.chunk}" if decision.chunk >= 0 else ""
    return f"session {decision.session}{chunk}"


def chosen(one: Logged | None) -> str:
    """What was chosen, and about whom where that is part of the choice."""
    if one is None:
        return "nothing any more"
    decision = one.decision
    if decision.family == "dispatch":
        return f"chunk {decision.chunk} of session {decision.session}"
    return number(decision.chose)


def number(value: float | str | None) -> str:
    """A number as it was recorded; two that differ are never written alike."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return "".join(c if c.isprintable() else "?" for c in value)
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)


def words_validated(one: Validated) -> list[str]:
    """What asking again has shown of one deployment, and how the prediction compares."""
    broken = [f"{each.name}: {words_again(each)}" for each in one.again if each.difference]
    real = len(one.again) - 1
    runs = "the real run" if real == 1 else f"{real} real runs"
    kept = f"in {runs} and the prediction every policy, asked again on what it saw, chose the same"
    return [*(broken or [kept]), f"prediction beside the first real run: {words_beside(one.side)}"]


def _of(one: Logged | None, name: str) -> str:
    return number(None if one is None else one.saw.get(name))
