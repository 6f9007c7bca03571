"""On CUDA cards: services are timed by events, states are read, and transfers go over NCCL."""

import time
from pathlib import Path
from statistics import median

import pytest
import torch

from streamtwin.calibrate.accelerator import card_remarks, gauge_of, l2_bytes, timer_of
from streamtwin.calibrate.beside import HOST_CLOCK, ahead_cases, card_cases, host_extra_s
from streamtwin.calibrate.cases import CalibrationRequest, Case, hop_cases, kernel_cases
from streamtwin.calibrate.environment import read_environment
from streamtwin.calibrate.kernel_runner import KernelRunner
from streamtwin.calibrate.profile import read_profile
from streamtwin.calibrate.ranks import measure_hops, measure_transfers
from streamtwin.calibrate.run import calibrate
from streamtwin.calibrate.timer import EventTimer
from streamtwin.calibrate.transfer_cases import transfer_cases
from streamtwin.runtime.processes import run_ranks

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

two_cards = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")

SMALL = CalibrationRequest(resolution=(128, 192), ranks=(1,), device="cuda")


class Nowhere:
    def append(self, frames: object) -> None:
        """Let go of *frames*."""


def test_events_tell_how_long_the_card_was_at_it() -> None:
    timer = timer_of("cuda")
    assert isinstance(timer, EventTimer)
    a = torch.randn(4096, 4096, device="cuda")
    times = []
    for count in (1, 1, 8):
        torch.cuda.synchronize()
        timer.start()
        for _ in range(count):
            torch.mm(a, a)
        times.append(timer.stop())
    assert 4 < times[2] / times[1] < 16


def test_the_flush_is_twice_the_card_s_own_cache() -> None:
    assert l2_bytes("cuda") > 2**20
    runner = KernelRunner(SMALL.plan(), Nowhere(), "cuda", timer_of("cuda"))
    assert runner.scratch.is_cuda
    assert runner.scratch.nbytes >= 2 * l2_bytes("cuda")


def test_a_micro_step_costs_the_host_more_than_the_card() -> None:
    runner = KernelRunner(SMALL.plan(), Nowhere(), "cuda", timer_of("cuda"))
    cases = [case for case in card_cases(SMALL) if case.tag == HOST_CLOCK]
    clock = time.perf_counter
    for case in cases:
        both = [
            median(runner.time_s(one, clock) for _ in range(20)) for one in (Case(case.op, 1), case)
        ]
        assert 0 < both[0] < both[1]


def test_the_card_s_state_is_read_in_under_a_millisecond() -> None:
    gauge = gauge_of("cuda")
    if gauge is None:
        assert "are not recorded" in card_remarks("cuda")[0]
        return
    torch.cuda.synchronize()
    clock, times = time.perf_counter, []
    for _ in range(20):
        began_s = clock()
        state = gauge.read()
        times.append(clock() - began_s)
    assert median(times) < 1e-3
    assert state.sm_clock_mhz is None or 100 < state.sm_clock_mhz < 5000
    assert state.power_w is None or 5 < state.power_w < 2000
    assert state.temperature_c is None or 5 < state.temperature_c < 120


def test_the_environment_names_what_drives_the_card() -> None:
    here = read_environment(torch.cuda.get_device_name())
    assert here.cuda == torch.version.cuda
    assert here.cudnn not in ("none", "None")
    assert here.attention.split("+")[-1] == "math"
    assert "none" not in (here.driver, here.attention)


def test_a_calibration_of_a_card_is_whole(tmp_path: Path) -> None:
    profile = calibrate(SMALL, out=tmp_path / "card", budget_s=20.0)
    assert read_profile(tmp_path / "card") == profile
    measured = {one.case: one for one in profile.measurements if one.case.ranks == 1}
    assert set(measured) == {*kernel_cases(SMALL, 1), *card_cases(SMALL)}
    assert {"dit", "encode", "decode", "copy"} <= {fit.family for fit in profile.fits}
    extra_s = host_extra_s(list(measured.values()))
    assert extra_s is not None
    assert 0 < extra_s < 1e-3
    if gauge_of("cuda") is not None:
        assert all(len(one.states) == len(one.times) for one in measured.values())


@two_cards
def test_transfers_and_hops_go_over_nccl() -> None:
    (measured, _), _ = run_ranks(measure_transfers, 2, (SMALL, transfer_cases(SMALL, 2), 0.0))
    assert {one.case for one in measured} == set(transfer_cases(SMALL, 2))
    _, (hops, _) = run_ranks(
        measure_hops, 2, (SMALL, hop_cases(SMALL, 2) + ahead_cases(SMALL, 2), 0.0)
    )
    assert {one.case for one in hops} >= set(hop_cases(SMALL, 2))
