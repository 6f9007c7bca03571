"""Exchanges among members, migrations of a block, and hops whose receives are posted ahead."""

from dataclasses import replace
from statistics import median
from typing import get_args

import pytest
import torch
from calibration_data import ENVIRONMENT, REQUEST, all_cases, cost_s, noisy

from streamtwin.calibrate.beside import (
    AHEAD_LATE,
    AHEAD_TAGS,
    AHEAD_WAITED,
    ahead_cases,
    ahead_rows,
)
from streamtwin.calibrate.cases import CalibrationRequest, Case, hop_cases, hop_shapes
from streamtwin.calibrate.harness import MIN_TIMES, WARMUPS
from streamtwin.calibrate.hop_runner import APART_S, COMPUTE_S
from streamtwin.calibrate.observed import observe
from streamtwin.calibrate.profile import make_profile
from streamtwin.calibrate.ranks import measure_hops, measure_transfers
from streamtwin.calibrate.samples import read_samples, write_samples
from streamtwin.calibrate.seats import Seat
from streamtwin.calibrate.transfer_cases import (
    MAX_MIGRATION_BYTES,
    collective_cases,
    exchange_sizes,
    migration_cases,
    migration_sizes,
    transfer_cases,
    transfer_ranks,
)
from streamtwin.calibrate.transfer_runner import NEVER, Exchanges, lasted_s
from streamtwin.core.moves import block_bytes
from streamtwin.core.ops import Collective, Copy, Exchange, Hop, Migration
from streamtwin.core.plan import HEADER_BYTES
from streamtwin.kernels import sequence
from streamtwin.runtime.processes import run_ranks

SMALL = CalibrationRequest(resolution=(32, 48))
LARGE = CalibrationRequest("wan2.1-1.3b", "wan2.1", (480, 832), ranks=(1,), device="cuda")


def test_one_rank_exchanges_nothing():
    assert transfer_cases(SMALL, 1) == []


@pytest.mark.parametrize(
    ("request_", "cards", "ranks"),
    [
        (SMALL, 0, (2,)),
        (replace(SMALL, ranks=(4, 1, 2)), 0, (2, 4)),
        (replace(SMALL, ranks=(1,)), 0, ()),
        (LARGE, 1, ()),
        (LARGE, 2, (2,)),
        (LARGE, 8, (2, 4, 8)),
    ],
)
def test_transfers_are_timed_among_ranks_of_the_request_or_cards_of_the_host(
    request_, cards, ranks
):
    assert transfer_ranks(request_, cards) == ranks


@pytest.mark.parametrize("members", [2, 3, 4])
@pytest.mark.parametrize("request_", [SMALL, REQUEST, LARGE], ids=lambda one: one.model)
def test_exchanges_span_what_members_give_in_a_pass_and_split_evenly(request_, members):
    sizes, plan = exchange_sizes(request_, members), request_.plan()
    share = plan.scenario.size.tokens / members * plan.model.dim * plan.itemsize
    assert sizes[0] <= share
    assert sizes[-1] >= 3 * 4 * share
    assert all(size % (members * plan.itemsize) == 0 for size in sizes)


@pytest.mark.parametrize("cases", [collective_cases(SMALL, 2), migration_cases(SMALL, 2)])
def test_inner_sizes_are_held_out_and_the_ends_never_are(cases):
    sizes = {case.op.size_bytes: case.held_out for case in cases}
    assert any(sizes.values())
    assert not sizes[min(sizes)]
    assert not sizes[max(sizes)]
    assert len(set(cases)) == len(cases)


def test_every_exchange_is_timed_at_every_size():
    cases = collective_cases(SMALL, 2)
    assert {case.op.exchange for case in cases} == set(get_args(Exchange))
    assert len(cases) == len(get_args(Exchange)) * len(exchange_sizes(SMALL, 2))


def test_a_migrating_block_takes_weights_and_sessions_along():
    plan = SMALL.plan()
    assert migration_sizes(SMALL) == {block_bytes(plan, n, n): n for n in range(5)}
    sizes = migration_sizes(LARGE)
    assert set(sizes.values()) >= {0, 1}
    assert max(sizes) <= MAX_MIGRATION_BYTES
    huge = replace(LARGE, model="wan2.1-14b")
    assert set(migration_sizes(huge).values()) == {0, 1}


def test_hops_reach_the_size_of_a_block_that_migrates():
    for request in (SMALL, REQUEST):
        assert max(hop_shapes(request)) >= block_bytes(request.plan(), 1, 1)


def test_hops_reach_the_hidden_state_of_four_rows_of_a_large_model():
    fitted = [case.op.size_bytes for case in hop_cases(LARGE, 2) if not case.held_out]
    assert max(fitted) > 19_900_000


def test_receives_are_posted_ahead_for_items_as_long_as_their_buffer():
    for size, rows in ahead_rows(SMALL).items():
        plan = SMALL.plan(2, steps=rows)
        (edge, *_) = plan.outward(0)
        per_frame = plan.frame_bytes(activations=True)
        assert size == HEADER_BYTES + plan.fullest_frames(edge) * per_frame


def test_a_card_has_one_receive_posted_ahead():
    assert list(ahead_rows(replace(SMALL, ranks=(1,), device="cuda")).values()) == [4]


def test_a_transfer_lasts_from_the_last_to_come_to_the_last_to_be_done():
    assert lasted_s([(1.0, 4.0), (2.0, 3.0)]) == 2.0
    assert lasted_s([(1.0, NEVER), (2.0, 3.5)]) == 1.5


CALLS = {
    "all_to_all": "all_to_all_single",
    "ring_shift": "batch_isend_irecv",
    "all_gather": "all_gather",
}


@pytest.mark.parametrize("exchange", get_args(Exchange))
def test_an_exchange_makes_the_call_that_members_of_a_stage_make(monkeypatch, exchange):
    called = []

    def note(name):
        def call(*args, **kwargs):
            called.append((name, args))
            return []

        return call

    for name in CALLS.values():
        monkeypatch.setattr(sequence.dist, name, note(name))
    monkeypatch.setattr(sequence.dist, "P2POp", lambda *args: args)
    exchanges = Exchanges(Seat(0, 2, "cpu", torch.float32, None))
    case, sent = Case(Collective(exchange, 2, 1024), 2), []
    for _ in range(2):
        exchanges.prepare(case)()
        name, args = called.pop()
        assert (name, called) == (CALLS[exchange], [])
        tensor = args[0][0][1] if exchange == "ring_shift" else args[1]
        assert tensor.nbytes == 1024
        sent.append(tensor)
    assert not torch.equal(*sent)  # inputs take turns


def least(measured, cases):
    assert {one.case for one in measured} == set(cases)
    assert min(len(one.times) for one in measured) >= WARMUPS + MIN_TIMES
    assert all(0 < time < 5 for one in measured for time in one.times)


def test_two_ranks_time_every_transfer_for_real(tmp_path):
    """A block that did not come home, or whose bytes are not the case's, fails the next one."""
    of_all = run_ranks(measure_transfers, 2, (SMALL, transfer_cases(SMALL, 2), 0.0))
    (measured, name), (none, _) = of_all
    assert (name, none) == (None, [])
    least(measured, transfer_cases(SMALL, 2))
    write_samples(tmp_path / "s.csv", measured, ENVIRONMENT.key)
    assert list(read_samples(tmp_path / "s.csv", ENVIRONMENT.key)) == measured


def test_two_ranks_time_hops_with_and_without_receives_posted_ahead():
    (none, _), (measured, _) = run_ranks(
        measure_hops, 2, (SMALL, hop_cases(SMALL, 2) + ahead_cases(SMALL, 2), 0.0)
    )
    assert none == []
    cases = hop_cases(SMALL, 2) + ahead_cases(SMALL, 2)
    least(measured, cases)
    ahead = {one.case: median(one.steady) for one in measured if one.case.tag in AHEAD_TAGS}
    assert {case.tag for case in ahead} == {AHEAD_WAITED, AHEAD_LATE}
    late = [seconds for case, seconds in ahead.items() if case.tag == AHEAD_LATE]
    assert median(late) < COMPUTE_S + APART_S  # the wait for it to arrive is no part of it
    assert not any(one.case.tag in AHEAD_TAGS for one in observe(measured))


COSTS = {Hop: 1e-3, Collective: 2e-3, Migration: 3e-3, Copy: 4e-3}


def test_on_cards_the_passes_of_one_rank_serve_any_number_of_ranks():
    def cost(case):
        return COSTS[type(case.op)] if type(case.op) in COSTS else cost_s(case)

    measured = noisy(
        all_cases(1) + hop_cases(REQUEST, 2) + transfer_cases(REQUEST, 2), 0.01, cost=cost
    )
    request = {"model": "tiny", "device": "cuda"}
    op = next(case.op for case in all_cases(1))
    card = make_profile("card", ENVIRONMENT, [request], measured).latency_model(2)
    assert card.predict(op).mean_s == pytest.approx(cost_s(Case(op, 1)), rel=0.1)
    assert card.predict(migration_cases(REQUEST, 2)[1].op).mean_s == pytest.approx(3e-3, rel=0.1)
