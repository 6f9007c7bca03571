"""Messages: who speaks first, on which device, and when the host may go on."""

from collections import deque
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders import make_plan
from streamtwin.core.deployment import MAX_ROWS
from streamtwin.core.edges import Edge, edges_of
from streamtwin.core.plan import HEADER_BYTES
from streamtwin.core.protocol import Layout
from streamtwin.core.ring import Item, Row
from streamtwin.core.section import MAX_RANKS
from streamtwin.core.slip import RankTimes, Slip
from streamtwin.kernels.stage import Work
from streamtwin.runtime import transport
from streamtwin.runtime.header import pack, unpack
from streamtwin.runtime.slips import SLIP_LENGTH, slip_from, slip_numbers
from streamtwin.runtime.transport import Transport, connect


class Calls(list):
    """Notes calls in order."""

    def note(self, name: str):
        def called(*args: object, **_: object) -> None:
            self.append((name, *(a for a in args if not isinstance(a, torch.Tensor))))

        return called


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    for name in ("send", "recv", "init_process_group"):
        monkeypatch.setattr(transport.dist, name, calls.note(name))
    monkeypatch.setattr(torch.cuda, "set_device", calls.note("set_device"))

    def current_stream(device: torch.device) -> SimpleNamespace:
        calls.append(("current_stream", device))
        return SimpleNamespace(synchronize=calls.note("synced"))

    monkeypatch.setattr(torch.cuda, "current_stream", current_stream)
    return calls


def greeting(calls: Calls, rank: int, ranks: int, edges: tuple[Edge, ...] | None) -> deque:
    calls.clear()
    connect(rank, ranks, "/nowhere", edges=edges)
    return deque(call[:2] for call in calls if call[0] in ("send", "recv"))


@pytest.mark.parametrize("placement", [None, "edge", "dedicated"])
@pytest.mark.parametrize("ranks", [3, 4, 5, 8])
def test_ranks_meet_although_a_message_leaves_only_when_its_receiver_is_there(
    ranks: int, placement: str | None, calls: Calls
) -> None:
    edges = placement and edges_of(Layout(gpus=ranks, vae_placement=placement))
    todo = [greeting(calls, rank, ranks, edges) for rank in range(ranks)]
    assert sum(map(len, todo)) == 2 * ranks
    while any(todo):
        met = False
        for rank in range(ranks):
            if todo[rank] and todo[rank][0][0] == "send":
                peer = todo[rank][0][1]
                if todo[peer] and todo[peer][0] == ("recv", rank):
                    todo[rank].popleft()
                    todo[peer].popleft()
                    met = True
        assert met, f"all wait: {todo}"


def test_one_rank_greets_nobody(calls: Calls) -> None:
    assert not greeting(calls, 0, 1, None)


def test_each_link_has_a_group_of_its_own_where_links_are_apart(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ranks: a receive that is open in one direction must not hold up the other."""
    monkeypatch.setattr(transport.dist, "new_group", lambda members, timeout: [*members])
    groups = connect(0, 2, "/nowhere", edges=edges_of(Layout(gpus=2)), apart=True)
    assert set(groups) == {(0, 1), (1, 0)}
    assert groups[0, 1] is not groups[1, 0]
    assert [call for call in calls if call[0] != "init_process_group"] == [
        ("send", 1, [0, 1]),
        ("recv", 1, [0, 1]),
    ]


def test_a_rank_chooses_its_card_before_it_joins(calls: Calls) -> None:
    connect(0, 1, "/nowhere", "nccl", "cuda:3")
    assert calls == [
        ("set_device", "cuda:3"),
        ("init_process_group", "nccl", "file:///nowhere", None),
    ]


class Handle:
    def __init__(self, calls: Calls) -> None:
        self.wait = calls.note("wait")


def test_the_host_knows_that_a_card_has_sent(calls: Calls) -> None:
    sender = Transport(make_plan(gpus=2), 0, device="cuda:1")
    sender.wait_sent()
    assert calls == []
    sender._sending = [[(Handle(calls), torch.zeros(1)), (Handle(calls), torch.zeros(1))]]  # type: ignore[list-item]
    sender.wait_sent()
    assert calls == [("wait",), ("wait",), ("current_stream", torch.device("cuda:1")), ("synced",)]
    assert not sender._sending


def test_a_cpu_needs_no_waiting_for_a_device(calls: Calls) -> None:
    sender = Transport(make_plan(gpus=2), 0)
    sender._sending = [[(Handle(calls), torch.zeros(1))]]  # type: ignore[list-item]
    sender.wait_sent()
    assert calls == [("wait",)]


times = st.builds(RankTimes, *[st.integers(0, 10**12).map(lambda ns: ns * 1e-9)] * 3)


@given(
    st.one_of(st.just(()), st.lists(st.integers(0, 40), min_size=1, max_size=MAX_RANKS).map(tuple)),
    st.lists(times, max_size=MAX_RANKS).map(tuple),
)
def test_a_slip_comes_back_from_its_numbers(partition: tuple, passed: tuple) -> None:
    found = slip_from(slip_numbers(Slip(partition, passed)))
    assert found.partition == partition
    assert len(found.times) == len(passed)
    for own, other in zip(found.times, passed, strict=True):
        for part in ("dit_s", "vae_s", "hop_s"):
            assert getattr(own, part) == pytest.approx(getattr(other, part), rel=1e-6, abs=1e-9)


def test_the_fullest_header_holds_its_rows_and_its_slip() -> None:
    rows = tuple(Row(9, 10**6, 10**6, step) for step in range(MAX_ROWS))
    work = Work(torch.zeros(MAX_ROWS, 1, 1, 1, 1), (700,) * MAX_ROWS)
    slip = Slip((1,) * MAX_RANKS, (RankTimes(1.0, 2.0, 3.0),) * MAX_RANKS)
    numbers = pack(Item(5, rows, (9,)), work, 1.0, slip).tolist()
    assert len(numbers) * 8 == HEADER_BYTES
    item, timesteps, *_ = unpack(numbers)
    assert item == Item(5, rows, (9,))
    assert timesteps == (700,) * MAX_ROWS
    assert slip_from(numbers[-SLIP_LENGTH:]) == slip


def test_a_link_holds_as_many_items_as_it_may(calls: Calls) -> None:
    """A rank that decodes first may leave W - 1 results to rank 0; only the oldest is waited for."""
    sender = Transport(make_plan(gpus=4, decode="before_send"), 3)
    for held in range(3):
        sender.wait_sent()
        assert calls == []
        sender._sending.append([(Handle(calls), torch.zeros(held))])  # type: ignore[list-item]
    sender.wait_sent()
    assert calls == [("wait",)]
    assert [len(one[0][1]) for one in sender._sending] == [1, 2]
    sender.drain()
    assert len(calls) == 3
