"""How many decisions must a log have, by what else is recorded of the run?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamtwin.core.entrance import FAMILY as ENTRY
from streamtwin.core.errors import UserError
from streamtwin.core.moved import ranks_of_a_copy
from streamtwin.core.records import Decision, Records
from streamtwin.core.recovery import FAMILY as TROUBLE
from streamtwin.core.recovery import NO_EFFECT
from streamtwin.core.restarts import restart_at
from streamtwin.core.ring import START
from streamtwin.core.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Due:
    """There are `found` of `what`, and `why` asks for `must`, or where there is a `most` up to that."""

    what: str
    found: float
    must: float
    why: str
    most: float | None = None

    def check(self) -> None:
        """Refuse more or fewer.

        Raises:
            UserError: says how many there are, and what asks for how many.
        """
        most = self.must if self.most is None else self.most
        if not self.must <= self.found <= most:
            asked = f"{self.must:g}" if most == self.must else f"{self.must:g} to {most:g}"
            raise UserError(
                f"its decision log has {self.found:g} {self.what}, and {self.why} ask for {asked}: "
                "the log is truncated or damaged"
            )


def check_counts(records: Records, scenario: Scenario) -> None:
    """Refuse a log of *scenario* without decisions that the rest of *records* proves were made.

    Raises:
        UserError: it has fewer or more decisions of a family than it must.
    """
    log: dict[str, list[Decision]] = {}
    for one in records.decisions:
        log.setdefault(one.family, []).append(one)
    found = Log(log)
    for due in (*_of_sessions(found, scenario), *_of_deaths(found, scenario)):
        due.check()
    for due in (*_of_chunks(found, records, scenario), *_of_moves(found, records)):
        due.check()


@dataclass(frozen=True, slots=True)
class Log:
    """Decisions by family."""

    by_family: dict[str, list[Decision]]

    def of(self, family: str, *chose: float | str) -> list[Decision]:
        """Those of *family*, or of them those that *chose* one of these."""
        every = self.by_family.get(family, [])
        return [one for one in every if one.chose in chose] if chose else every

    @property
    def copies(self) -> int:
        """Copies of the pipeline to which sessions went."""
        return len({one.chose for one in self.of("router")}) or 1


def _due(family: str, found: Sequence[Decision], must: float, why: str) -> Due:
    return Due(f"decisions of family {family!r}", len(found), must, why)


def _of_sessions(log: Log, scenario: Scenario) -> Iterator[Due]:
    """Every session goes to a copy where there are several, and is answered where there is a door."""
    deployment, sessions = scenario.deployment, scenario.workload.sessions
    why = f"its {sessions} sessions"
    yield _due("router", log.of("router"), sessions if deployment.replicas > 1 else 0, why)
    yield _due("partition", log.of("partition"), log.copies, f"its {log.copies} pipelines")
    asked = 0 if scenario.workload.entry.policy == "accept_all" else sessions
    answers = [one for one in log.of(ENTRY) if one.chose != "queue"]
    yield Due(f"answers of family {ENTRY!r}", len(answers), asked, why)


def _of_deaths(log: Log, scenario: Scenario) -> Iterator[Due]:
    """Whoever dies is noticed, unless too late, and whoever is replaced starts, loads and goes on."""
    trouble = scenario.trouble
    deaths = len(trouble.lost_ranks) - len(log.of(TROUBLE, NO_EFFECT))
    starts = deaths + (log.copies if trouble.cold_start is not None else 0)
    events = {"died": deaths, "detected": deaths}
    events |= dict.fromkeys(("started", "loaded", "resumed"), starts)
    why = "the deaths and cold starts of its scenario"
    for event, must in events.items():
        found = len(log.of(TROUBLE, event))
        yield Due(f"events {event!r} of family {TROUBLE!r}", found, must, why)


def _of_chunks(log: Log, records: Records, scenario: Scenario) -> Iterator[Due]:
    """What the camera released was admitted or dropped, what was taken was chosen, and so on."""
    taken = [chunk for chunk in records.chunks if chunk.taken_s is not None]
    emitted = sum(chunk.outcome == "emitted" for chunk in taken)
    deaths = log.of(TROUBLE, "died")
    again = int(sum(one.saw["chunks_again"] for one in deaths))
    why = f"its {len(records.chunks)} chunks, {len(taken)} of them taken,"
    yield _due("admission", log.of("admission"), len(records.chunks), why)
    yield _due("dispatch", log.of("dispatch"), len(taken) + again, why)
    noise = len(log.of("noise"))
    yield Due("decisions of family 'noise'", noise, emitted, why, most=len(taken) + again)
    if not deaths:  # behind a death positions begin again, which chunks do not tell
        by_session = Counter(chunk.session for chunk in taken)
        restarts = sum(
            restart_at(scenario, ordinal) is not None
            for chunks in by_session.values()
            for ordinal in range(chunks)
        )
        yield _due("rope", log.of("rope"), restarts, why)
    # a session's first chunk goes into a lane of its own, into which nobody asks how many may
    let_in = sum(float(one.chose) for one in log.of("batching"))
    dispatched = [one for one in log.of("dispatch") if one.saw.get("line") != START]
    yield Due(
        "chunks let in by decisions of family 'batching'", let_in, len(dispatched), "dispatches"
    )


def _of_moves(log: Log, records: Records) -> Iterator[Due]:
    """Whatever moved was decided."""
    width = ranks_of_a_copy(records)
    moved = {(s.rank // width * width, s.item) for s in records.spans if s.kind == "move"}
    decided = [one for one in log.of("rebalance") if (one.rank, one.chunk) in moved]
    yield _due("rebalance", decided, len(moved), f"blocks that moved behind {len(moved)} items")
