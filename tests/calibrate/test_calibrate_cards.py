"""The path of a card, without one: which clock times what, what is flushed before, which inputs."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from calibration_data import REQUEST, measurement
from card_data import Card

from streamtwin.calibrate import kernel_runner
from streamtwin.calibrate.beside import (
    BESIDE,
    HOST_CLOCK,
    card_cases,
    copy_cases,
    empty_pass,
    host_clock_cases,
    host_extra_s,
)
from streamtwin.calibrate.cases import CalibrationRequest, Case, kernel_cases
from streamtwin.calibrate.fit import fit_all
from streamtwin.calibrate.flush import EVICTED_BYTES, flush_bytes
from streamtwin.calibrate.kernel_runner import INPUTS, KernelRunner
from streamtwin.calibrate.observed import observe
from streamtwin.calibrate.timer import EventTimer
from streamtwin.core.ops import Copy, DitPass, VaeDecode, VaeEncode
from streamtwin.runtime.spool import VideoSpool

SMALL = CalibrationRequest(resolution=(32, 48))
CARD = replace(SMALL, ranks=(1,), device="cuda")
L2 = {"h100": 50 * 2**20, "rtx5090": 96 * 2**20, "a100": 40 * 2**20}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def spool(tmp_path):
    with VideoSpool(tmp_path / "frames") as open_spool:
        yield open_spool


@pytest.mark.parametrize("cache_bytes", [0, *L2.values(), 2**30])
def test_twice_the_cache_is_written_and_never_less_than_a_cpu_needs(cache_bytes):
    assert flush_bytes(cache_bytes) >= 2 * cache_bytes
    assert flush_bytes(cache_bytes) >= EVICTED_BYTES >= 64 * 2**20


@pytest.mark.parametrize("card", L2)
def test_the_runner_writes_as_much_as_its_card_needs(spool, monkeypatch, card):
    monkeypatch.setattr(kernel_runner, "l2_bytes", lambda _: L2[card])
    assert KernelRunner(SMALL.plan(), spool).scratch.nbytes == flush_bytes(L2[card])


class Scratch:
    """Memory whose being written is logged."""

    def __init__(self, log):
        self.log = log

    def zero_(self):
        self.log.append("flush")


@pytest.fixture
def logged(spool):
    """A runner whose times come from a card's events, and what it does in which order."""
    log = []
    runner = KernelRunner(SMALL.plan(), spool, timer=EventTimer(Card(log).event))
    runner.scratch = Scratch(log)
    run, encode, decode = runner.whole.run, runner.whole.encode, runner.whole.decode
    runner.whole.run = lambda *args: (log.append("work"), run(*args))[1]
    runner.whole.encode = lambda *args: (log.append("work"), encode(*args))[1]
    runner.whole.decode = lambda *args: (log.append("work"), decode(*args))[1]
    return runner, log


def whole_pass():
    blocks = SMALL.plan().model.blocks
    cases = kernel_cases(SMALL, 1)
    return next(
        case.op
        for case in cases
        if isinstance(case.op, DitPass) and case.op.blocks == blocks and case.op.unembeds
    )


def never():
    raise AssertionError("the host's clock was read")


def services():
    ops = [case.op for case in kernel_cases(SMALL, 1)]
    return [
        whole_pass(),
        *(next(op for op in ops if isinstance(op, kind)) for kind in (VaeEncode, VaeDecode)),
    ]


@pytest.mark.parametrize("op", services(), ids=lambda op: type(op).__name__)
def test_a_card_times_its_services_by_events_behind_a_flush(logged, op):
    runner, log = logged
    for _ in range(3):
        log.clear()
        assert runner.time_s(Case(op, 1), never) == 1.0
        assert log == ["flush", "mark", "work", "mark", "wait"]


def test_a_case_by_the_host_s_clock_never_asks_for_events(logged):
    runner, log = logged
    ticks = iter((10.0, 12.5))
    assert runner.time_s(Case(whole_pass(), 1, HOST_CLOCK), lambda: next(ticks)) == 2.5
    assert log == ["flush", "work"]


@pytest.mark.parametrize("direction", ["to_device", "to_host"])
def test_a_copy_is_timed_like_a_service(logged, direction):
    runner, log = logged
    assert runner.time_s(Case(Copy(direction, 5000), 1), never) == 1.0
    assert log == ["flush", "mark", "mark", "wait"]


def test_inputs_are_random_and_take_turns(spool):
    runner, given = KernelRunner(SMALL.plan(), spool), []
    run = runner.whole.run

    def keep(states, item, work):
        given.append(work.latents)
        return run(states, item, work)

    runner.whole.run = keep
    for _ in range(INPUTS + 1):
        runner.time_s(Case(whole_pass(), 1), lambda: 0.0)
    assert len({tensor.data_ptr() for tensor in given}) == INPUTS > 1
    assert given[INPUTS] is given[0]
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(given))
    assert all(0.8 < float(tensor.std()) < 1.2 for tensor in given)


def test_frames_are_random_and_never_the_same(spool):
    runner, given = KernelRunner(SMALL.plan(), spool), []
    encode = runner.whole.encode

    def keep(state, row, frames, rate_of):
        given.append(frames)
        return encode(state, row, frames, rate_of)

    runner.whole.encode = keep
    op = services()[1]
    for _ in range(3):
        runner.time_s(Case(op, 1), lambda: 0.0)
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(given))
    assert all(frames.std() > 50 for frames in given)


def test_a_cpu_has_nothing_to_copy_to_and_one_clock():
    assert card_cases(SMALL) == []


def test_copies_span_a_page_to_several_chunks_in_both_directions():
    cases = copy_cases(CARD)
    height, width = CARD.resolution
    chunk = 3 * height * width * 4
    for direction in ("to_device", "to_host"):
        own = [case for case in cases if case.op.direction == direction]
        fitted = [case.op.size_bytes for case in own if not case.held_out]
        assert min(fitted) <= 4096
        assert max(fitted) >= 4 * chunk
        assert any(case.held_out for case in own)
    assert len(set(cases)) == len(cases)


def test_the_host_times_the_pass_without_blocks_and_the_longest():
    first, last = (case.op for case in host_clock_cases(CARD))
    assert (first.blocks, last.blocks) == (0, CARD.plan().model.blocks)
    assert last.rows == 4
    passes = [case.op for case in kernel_cases(CARD, 1) if isinstance(case.op, DitPass)]
    assert {first, last} <= set(passes)
    assert first == empty_pass(passes)


def by_both_clocks(extra_s):
    cases = [case for case in kernel_cases(REQUEST, 1) if isinstance(case.op, DitPass)]
    beside = host_clock_cases(REQUEST)
    card = [measurement(case, [0.1 * (1 + case.op.blocks)] * 5) for case in cases]
    host = [measurement(case, [0.1 * (1 + case.op.blocks) + extra_s] * 5) for case in beside]
    return card, host


def test_what_a_micro_step_costs_beyond_the_card_shows():
    card, host = by_both_clocks(3e-5)
    assert host_extra_s(card + host) == pytest.approx(3e-5)
    assert host_extra_s(card) is None


def test_what_is_measured_beside_is_in_no_fit():
    card, host = by_both_clocks(9.0)
    assert fit_all(card + host) == fit_all(card)
    assert not any(one.case.tag in BESIDE for one in observe(card + host))
