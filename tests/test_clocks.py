"""Instants of several hosts come onto one clock, within a bound that is known."""

import threading
import time

import pytest
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from streamtwin.core.errors import RunError, UserError
from streamtwin.core.records import ChunkRecord, Decision, Recorder
from streamtwin.runtime.clocks import LEADER, ClockMap, Exchange, Reading, read_offset
from streamtwin.runtime.crew_line import CrewLine
from streamtwin.runtime.mailbox import PIECE_BYTES, fetch, post
from streamtwin.runtime.seat import Seat, seat_of

delays = st.floats(1e-6, 0.05)


@given(st.floats(-1e5, 1e5), st.lists(st.tuples(delays, delays), min_size=1, max_size=30))
def test_the_offset_is_known_within_half_the_shortest_round_trip(
    offset_s: float, ways: list[tuple[float, float]]
) -> None:
    exchanges = []
    for number, (there_s, back_s) in enumerate(ways):
        asked_s = float(number)
        answer_s = asked_s + there_s + offset_s
        exchanges.append(Exchange(asked_s, answer_s, asked_s + there_s + back_s))
    reading = read_offset(exchanges)
    assert reading.error_s == pytest.approx(min(a + b for a, b in ways) / 2, abs=1e-9)
    assert abs(reading.offset_s - offset_s) <= reading.error_s + 1e-9


def test_one_host_has_one_clock_unless_the_readings_speak_against_it() -> None:
    near, far = Exchange(1.0, 1.0004, 1.001), Exchange(1.0, 9.0, 1.001)
    assert read_offset([near], same_host=True).offset_s == 0.0
    assert read_offset([near]).offset_s == pytest.approx(-0.0001)
    assert read_offset([far], same_host=True).offset_s == pytest.approx(7.9995)


@given(st.floats(-1e4, 1e4), st.floats(-1e-3, 1e-3), st.floats(0, 100), st.floats(0, 1e3))
def test_instants_of_a_drifting_clock_come_back(
    shift_s: float, drift: float, start_s: float, length_s: float
) -> None:
    def leads(own_s: float) -> float:
        return own_s + shift_s + drift * own_s

    before_s, after_s = start_s - 1.0, start_s + length_s + 1.0
    ends = [Reading(at, leads(at) - at, 0.0) for at in (before_s, after_s)]
    recorder = Recorder()
    recorder.span(1, "dit", 0.25 * length_s, 0.5 * length_s + 0.1)
    recorder.chunks[0, 3] = ChunkRecord(0, 3, length_s, emitted_s=length_s)
    recorder.decisions.append(Decision(length_s, 1, "x", "y", 0, 3, {}, 1.0))
    there = ClockMap(*ends).retimed(recorder, start_s)
    # the stream began here at the instant that rank 0 named, put on this clock by the first offset
    began_s = start_s + ends[0].offset_s
    assert there.spans[0].began_s + began_s == pytest.approx(leads(start_s + 0.25 * length_s))
    emitted_s = there.chunks[0, 3].emitted_s
    assert emitted_s is not None
    assert emitted_s + began_s == pytest.approx(leads(start_s + length_s), abs=1e-6)
    assert there.decisions[0].time_s == emitted_s == there.chunks[0, 3].released_s
    assert there.chunks[0, 3].taken_s is None


def test_rank_0_keeps_its_own_time() -> None:
    recorder = Recorder()
    recorder.span(0, "dit", 1.0, 2.0)
    assert ClockMap(LEADER, LEADER).retimed(recorder, 77.0) == recorder


@pytest.fixture
def store() -> dist.Store:
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    return dist.PrefixStore("test", server)


def test_ranks_with_other_clocks_start_at_one_instant(store: dist.Store) -> None:
    """Rank 1's clock is an hour ahead, rank 2's a minute behind."""
    shifts_s = [0.0, 3600.0, -60.0]
    lines = [
        CrewLine(store.clone(), Seat(rank, 3, 0, 1), lambda s=shift: time.monotonic() + s)
        for rank, shift in enumerate(shifts_s)
    ]
    starts: dict[int, float] = {}

    def begin(rank: int) -> None:
        for other in (rank,):
            lines[other].store.set(f"ready/{other}", "")
        starts[rank] = lines[rank].recv()

    threads = [threading.Thread(target=begin, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for rank, shift_s in enumerate(shifts_s):
        error_s = lines[rank]._start.error_s
        assert error_s < 0.05
        assert abs(starts[rank] - shift_s - starts[0]) <= error_s + 1e-9


def test_a_rank_that_does_not_become_ready_is_named(store: dist.Store) -> None:
    line = CrewLine(store.clone(), Seat(0, 3, 0, 1))
    line.start_s = 0.2
    for rank in (0, 2):
        store.set(f"ready/{rank}", "")
    with pytest.raises(RunError, match=r"^rank 1 did not become ready within 0\.2 s$"):
        line.recv()


def test_what_is_posted_arrives_in_pieces_and_whole(store: dist.Store) -> None:
    value = {"bytes": bytes(range(256)) * (PIECE_BYTES // 128), "empty": b"", "number": 1.5}
    post(store, "value", value)
    assert fetch(store, "value") == value
    assert int(store.get("value")) == 3


WHOLE = {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}


def test_a_seat_is_what_the_environment_says() -> None:
    assert seat_of({**WHOLE, "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}) == Seat(1, 4, 0, 2)
    assert seat_of(WHOLE) == Seat(1, 4, 1, 4)
    for name in WHOLE:
        assert seat_of({key: value for key, value in WHOLE.items() if key != name}) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RANK": "one"}, "RANK = 'one' in the environment"),
        ({"RANK": "4"}, "RANK = 4 of WORLD_SIZE = 4"),
        ({"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2"}, "LOCAL_RANK = 2 of"),
    ],
)
def test_a_seat_that_cannot_be_is_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        seat_of({**WHOLE, **change})
