"""A real calibration, as small as it gets."""

from dataclasses import replace

import pytest
import torch
from grid_cases import TWO_SIZES, Host, on

from streamtwin.calibrate import run
from streamtwin.calibrate.cases import CalibrationRequest, Case, hop_shapes, kernel_cases
from streamtwin.calibrate.grid import Grid, parts_of
from streamtwin.calibrate.hop_runner import _load
from streamtwin.calibrate.kernel_runner import KernelRunner, item_of
from streamtwin.calibrate.locate import HOME, profile_path
from streamtwin.calibrate.profile import read_profile
from streamtwin.calibrate.run import Settings, calibrate, fitting
from streamtwin.cli import profiles
from streamtwin.core.errors import UserError
from streamtwin.core.ops import DitPass, Hop
from streamtwin.core.plan import HEADER_BYTES
from streamtwin.runtime.spool import VideoSpool
from streamtwin.runtime.transport import Transport

SMALL = CalibrationRequest(resolution=(32, 48))
TRANSFERS = {("hop", 2), ("collective", 2), ("migration", 2)}
CHUNKS = [replace(SMALL, chunk_latents=latents) for latents in (1, 2, 3)]


@pytest.fixture
def spool(tmp_path):
    with VideoSpool(tmp_path / "frames") as open_spool:
        yield open_spool


def test_measures_fits_and_writes_a_profile(tmp_path):
    heard = []
    profile = calibrate(
        SMALL,
        out=tmp_path / "here",
        budget_s=3.0,
        settings=Settings(on_progress=lambda share, text: heard.append((share, text))),
    )
    assert read_profile(tmp_path / "here") == profile
    assert profile.name == "here"
    assert profile.requests[0]["resolution"] == [32, 48]
    assert profile.requests[0]["chunk_latents"] == 1
    assert profile.covers(replace(SMALL, ranks=profile.ranks)) == []
    shares = [share for share, _ in heard]
    assert shares[-1] == 1.0
    assert all(0 <= share <= 1 for share in shares)
    cores = run.usable_cores()
    families = {(fit.family, fit.ranks) for fit in profile.fits}
    both = {("dit", 2), ("encode", 2), ("decode", 2), *TRANSFERS} if cores > 1 else set()
    assert families == {("dit", 1), ("encode", 1), ("decode", 1)} | both
    ranks = {(one.case.ranks, one.rank) for one in profile.measurements if one.case.ranks == 2}
    assert ranks == ({(2, 0), (2, 1)} if cores > 1 else set())
    fit = next(fit for fit in profile.fits if (fit.family, fit.ranks) == ("dit", 1))
    least = {(p.op.blocks, p.op.rows): p.measured_s for p in fit.points if p.op.chunk_latents == 1}
    assert least[0, 1] < least[6, 4]


@pytest.mark.parametrize("request_", CHUNKS, ids=lambda one: f"{one.chunk_latents} latents")
def test_each_pass_attends_what_its_case_says(request_):
    plan = request_.plan()
    for case in kernel_cases(request_, 1):
        if isinstance(case.op, DitPass):
            item = item_of(case.op, plan)
            assert plan.attended_tokens(item) == case.op.kv_tokens
            assert len(item.rows) == case.op.rows
            assert len({row.step for row in item.rows}) == case.op.rows


@pytest.mark.parametrize(
    "request_",
    [*CHUNKS, replace(SMALL, vae="taehv-tiny")],
    ids=lambda one: f"{one.vae}, {one.chunk_latents} latents",
)
def test_every_case_can_be_performed_and_counts_only_the_service(spool, request_):
    torch.set_num_threads(1)
    runner = KernelRunner(request_.plan(), spool)
    ticks = iter(range(10**6))
    for case in kernel_cases(request_, 1):
        assert runner.time_s(case, lambda: next(ticks)) == 1
    with pytest.raises(AssertionError, match="no service of a stage"):
        runner.time_s(Case(Hop(1), 2), lambda: 0.0)


def test_a_hop_carries_all_latents_of_a_chunk():
    for request in CHUNKS:
        for size, (resolution, rows) in hop_shapes(request).items():
            if size > 2**21:
                continue  # of the same making
            _, work = _load(Transport(request.plan(2, resolution), 0), rows)
            assert size == HEADER_BYTES + work.latents.nbytes + work.hidden.nbytes


def test_stages_of_any_length_share_the_weights(spool):
    runner = KernelRunner(SMALL.plan(), spool)
    short, long = runner._stage(2, True, False), runner._stage(5, False, True)
    assert short.dit.blocks["1"] is long.dit.blocks["1"] is runner.whole.dit.blocks["1"]
    assert len(short.dit.blocks) == 2
    assert short.dit.head is None
    assert long.dit.patch_embedding is None


def test_a_scenario_finds_this_hosts_profile_of_a_grid(tmp_path, monkeypatch):
    monkeypatch.setenv(HOME, str(tmp_path))
    monkeypatch.setattr(run, "usable_cores", lambda: 2)
    one, other = TWO_SIZES.requests
    path = profile_path(run.grid_name(TWO_SIZES))
    made = calibrate(TWO_SIZES, out=path, budget_s=20.0, settings=on(Host(), Settings()))
    assert profiles._known(one, False) == profiles._known(other, False) == made
    assert profiles._known(replace(one, window=9), False) is None
    more = replace(one, ranks=(1, 2, 3))
    assert profiles._known(more, False) is None
    assert profiles._known(more, True) == made


def test_one_core_measures_one_rank_only(monkeypatch):
    monkeypatch.setattr(run, "usable_cores", lambda: 1)
    grid = fitting(Grid((CalibrationRequest(ranks=(1, 2)),)))
    assert grid.ranks == (1,)
    assert [part.ranks for part in parts_of(grid)] == [1]


def kinds_of(grid):
    return [(part.kind, part.ranks) for part in parts_of(grid)]


def test_on_a_cpu_every_number_of_ranks_computes_and_exchanges():
    grid = Grid((CalibrationRequest(ranks=(2, 1)),))
    assert kinds_of(grid) == [("kernels", 1), ("kernels", 2), ("hops", 2), ("transfers", 2)]


def test_on_cards_a_rank_computes_alone_and_as_many_exchange_as_there_are():
    grid = Grid((CalibrationRequest(ranks=(1,), device="cuda"),), cards=5)
    each = ("hops", "transfers")
    assert kinds_of(grid) == [("kernels", 1), *((kind, n) for n in (2, 4) for kind in each)]


@pytest.mark.parametrize("budget_s", [0.0, -1.0, float("nan")])
def test_a_budget_is_positive(budget_s):
    with pytest.raises(UserError, match="budget_s"):
        calibrate(SMALL, budget_s=budget_s)


def test_an_unknown_model_is_refused_before_anything_starts():
    with pytest.raises(UserError, match="unknown model"):
        calibrate(CalibrationRequest(model="none"), budget_s=1.0)
