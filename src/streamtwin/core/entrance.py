"""Which sessions are let in, which wait at the door, which are sent away?

Rank 0 asks whenever it looks: sessions that have joined meanwhile ask in the order in which they
came, and nobody overtakes who waits. Where everybody is let in there is no door. It knows no clock.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from streamtwin.core.errors import ScenarioError
from streamtwin.core.plan import Plan
from streamtwin.core.policies.session_admission import (
    NEEDS_ROOM,
    SESSION_ADMISSION,
    SessionView,
)
from streamtwin.core.records import Decision
from streamtwin.core.session_forecast import view_of
from streamtwin.core.sessions import SessionBook

FAMILY = "session_admission"


@dataclass(slots=True)
class Entrance:
    """The admission of sessions in one run."""

    plan: Plan
    books: Sequence[SessionBook]
    decide: Callable[[Decision], None]
    inside: set[int] = field(init=False, default_factory=set)
    _coming: deque[int] = field(init=False)
    _line: deque[int] = field(init=False, default_factory=deque)
    _changed: bool = field(init=False, default=False)
    _settled: list[SessionBook] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        scenario = self.plan.scenario
        check_room(self.plan)
        guarded = scenario.workload.entry.policy != "accept_all"
        asking = range(scenario.workload.sessions) if guarded else ()
        self._coming = deque(sorted(asking, key=lambda one: (scenario.visit(one).join_s, one)))
        for session in asking:
            self.books[session].queue.closed = True

    def look(self, now_s: float) -> list[SessionBook]:
        """Answer whoever has come by *now_s*, or waits and may enter or has waited too long.

        Who has lost patience before anybody looked, as while a ring stands, has gone unasked.

        Returns the books of those whose input begins, or will never come.
        """
        self._settled = []
        while self._changed and self._line:
            self._changed = self._ask_again(now_s)
        self._changed = False
        while self._line and self._leaves_s(self._line[0]) <= now_s:
            self._gives_up(self._line.popleft())
        while self._coming and self._joins_s(self._coming[0]) <= now_s:
            session = self._coming.popleft()
            if self._leaves_s(session) <= now_s:
                self._gives_up(session)
            else:
                self._ask(session, now_s)
        return self._settled

    def left(self, sessions: Iterable[int]) -> None:
        """Of *sessions* nothing follows: there is room for others."""
        for session in sessions:
            self.inside.discard(session)
            self._changed = True

    def next_s(self) -> float | None:
        """When somebody comes, or the first in line loses patience; None: nobody will."""
        instants = [self._joins_s(session) for session in list(self._coming)[:1]]
        instants += [self._leaves_s(session) for session in list(self._line)[:1]]
        due_s = min(instants, default=float("inf"))
        return due_s if due_s < float("inf") else None

    def _ask(self, session: int, now_s: float) -> None:
        """Let *session* in, let it wait, or send it or the first in line away."""
        entry, view = self.plan.scenario.workload.entry, self._view(session, len(self._line))
        if chosen(entry.policy, view):
            # a camera that is let in at once has been running since it came
            self._admit(session, now_s, view, self._joins_s(session))
            return
        full = len(self._line) == entry.max_queued
        # with nobody inside nothing will change
        if not self.inside or not entry.max_queued or (full and entry.full == "drop_newest"):
            self._send_away(session, now_s, view, "refuse")
            return
        if full:
            oldest = self._line.popleft()
            self._send_away(oldest, now_s, self._view(oldest, 0), "refuse")
        self._line.append(session)
        self._note(session, now_s, view, "queue")

    def _ask_again(self, now_s: float) -> bool:
        """Ask for the first in line; whether the one behind it may be asked for too."""
        session, policy = self._line[0], self.plan.scenario.workload.entry.policy
        view = self._view(session, 0)
        fits = chosen(policy, view)
        if not fits and self.inside:
            self._note(session, now_s, view, "queue")
            return False
        self._line.popleft()
        if fits:
            self._admit(session, now_s, view, now_s)
        else:
            self._send_away(session, now_s, view, "refuse")
        return True

    def _view(self, session: int, ahead: int) -> SessionView:
        return view_of(self.plan, self.inside, session, ahead)

    def _admit(self, session: int, now_s: float, view: SessionView, start_s: float) -> None:
        self._note(session, now_s, view, "admit")
        self.books[session].queue.open(start_s)
        self.inside.add(session)
        self._settled.append(self.books[session])

    def _send_away(self, session: int, now_s: float, view: SessionView, how: str) -> None:
        self._note(session, now_s, view, how)
        self.books[session].queue.refuse()
        self._settled.append(self.books[session])

    def _gives_up(self, session: int) -> None:
        """Let *session* leave at the instant at which it has waited long enough."""
        self._send_away(session, self._leaves_s(session), self._view(session, 0), "gave_up")

    def _note(self, session: int, now_s: float, view: SessionView, choice: str) -> None:
        policy = self.plan.scenario.workload.entry.policy
        self.decide(Decision(now_s, 0, FAMILY, policy, session, -1, view.saw(), choice))

    def _joins_s(self, session: int) -> float:
        return self.plan.scenario.visit(session).join_s

    def _leaves_s(self, session: int) -> float:
        patience_s = self.plan.scenario.workload.entry.patience_s
        return float("inf") if patience_s is None else self._joins_s(session) + patience_s


def chosen(policy: str, view: SessionView) -> bool:
    """Whether who asks with *view* gets in: nobody overtakes, the first in line asks the policy."""
    return view.ahead == 0 and SESSION_ADMISSION[policy](view)


def check_room(plan: Plan) -> None:
    """Refuse a policy that asks how many sessions memory holds where nobody knows.

    Raises:
        ScenarioError: names what to give.
    """
    policy = plan.scenario.workload.entry.policy
    if policy in NEEDS_ROOM and plan.session_room is None:
        raise ScenarioError(
            f"workload.entry.policy = {policy!r}: how much memory the ranks have is not known here; "
            "give workload.entry.room, the sessions that it holds"
        )
