"""Messages: who speaks first, on which device, and when the host may go on."""

from collections import deque

import pytest
import torch

from builders import make_plan
from streamtwin.runtime import transport
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
    for name in ("set_device", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, calls.note(name))
    return calls


def greeting(calls: Calls, rank: int, ranks: int, stride: int = 1) -> deque:
    calls.clear()
    connect(rank, ranks, "/nowhere", stride=stride)
    return deque(call for call in calls if call[0] in ("send", "recv"))


@pytest.mark.parametrize(
    ("ranks", "stride"), [(2, 1), (3, 1), (4, 1), (5, 1), (8, 1), (4, 2), (9, 3), (8, 4)]
)
def test_ranks_meet_although_a_message_leaves_only_when_its_receiver_is_there(
    ranks: int, stride: int, calls: Calls
) -> None:
    todo = [greeting(calls, rank, ranks, stride) for rank in range(ranks)]
    for rank, said in enumerate(todo):
        assert set(said) == {
            ("send", (rank + stride) % ranks),
            ("recv", (rank - stride) % ranks),
        }
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
    assert not greeting(calls, 0, 1)
    assert not greeting(calls, 1, 4, stride=4)  # the members of the only stage


def test_a_rank_chooses_its_card_before_it_joins(calls: Calls) -> None:
    connect(0, 1, "/nowhere", "nccl", "cuda:3")
    assert calls == [("set_device", "cuda:3"), ("init_process_group", "nccl")]


class Handle:
    def __init__(self, calls: Calls) -> None:
        self.wait = calls.note("wait")


def test_the_host_knows_that_a_card_has_sent(calls: Calls) -> None:
    sender = Transport(make_plan(gpus=2), 0, device="cuda:1")
    sender.wait_sent()
    assert calls == []
    sender._sending = [(Handle(calls), torch.zeros(1)), (Handle(calls), torch.zeros(1))]  # type: ignore[list-item]
    sender.wait_sent()
    assert calls == [("wait",), ("wait",), ("synchronize", torch.device("cuda:1"))]
    assert not sender._sending


def test_a_cpu_needs_no_waiting_for_a_device(calls: Calls) -> None:
    sender = Transport(make_plan(gpus=2), 0)
    sender._sending = [(Handle(calls), torch.zeros(1))]  # type: ignore[list-item]
    sender.wait_sent()
    assert calls == [("wait",)]
