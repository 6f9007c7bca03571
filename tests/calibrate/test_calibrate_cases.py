"""Which cases a request turns into."""

from dataclasses import replace

import pytest
from calibration_data import REQUEST

from streamtwin.calibrate.cases import (
    HOP_TAGS,
    CalibrationRequest,
    hop_cases,
    item_from,
    kernel_cases,
)
from streamtwin.calibrate.forms import coordinates
from streamtwin.core import catalog
from streamtwin.core.errors import UserError
from streamtwin.core.ops import DitPass, Hop, VaeDecode, VaeEncode
from streamtwin.core.plan import HEADER_BYTES

MODELS = [("tiny", "tiny"), ("wan2.1-1.3b", "wan2.1")]


@pytest.mark.parametrize(("model", "vae"), MODELS)
def test_each_case_is_there_once(model, vae):
    cases = kernel_cases(CalibrationRequest(model, vae), 1)
    assert len({case.op for case in cases}) == len(cases)


@pytest.mark.parametrize(("model", "vae"), MODELS)
def test_fitted_passes_span_what_deployments_of_the_model_ask(model, vae):
    request = CalibrationRequest(model, vae)
    fitted = [case.op for case in kernel_cases(request, 1) if not case.held_out]
    passes = [op for op in fitted if isinstance(op, DitPass)]
    tokens = request.plan().scenario.size.tokens
    spans = {
        "blocks": {0, catalog.model(model).blocks},
        "rows": {1, 4},
        "chunk_latents": {1, 2},
        "kv_tokens": {2 * tokens, request.window * tokens},
    }
    for name, ends in spans.items():
        values = [coordinates(op)[name] for op in passes]
        assert {min(values), max(values)} == ends
    assert {(op.embeds, op.unembeds) for op in passes} == {
        (False, False),
        (False, True),
        (True, False),
        (True, True),
    }


def test_deployments_used_to_validate_are_held_out():
    held_out = {case.op for case in kernel_cases(REQUEST, 2) if case.held_out}
    tokens = REQUEST.plan().scenario.size.tokens

    def steady(blocks, rows, embeds, unembeds):
        return DitPass("tiny", blocks, rows, 1, tokens, 6.0 * tokens, embeds, unembeds)

    assert {
        steady(6, 2, True, True),
        steady(3, 2, True, False),
        steady(3, 2, False, True),
        steady(3, 1, True, False),
    } <= held_out


@pytest.mark.parametrize("latents", [1, 2, 3])
@pytest.mark.parametrize("gpus", [1, 2])
def test_every_operation_of_a_deployment_lies_inside_the_range(latents, gpus):
    """From the first chunk to the full window, with one row a lane and with four."""
    request = replace(REQUEST, chunk_latents=latents)
    cases = kernel_cases(request, gpus) + hop_cases(request, gpus)
    fitted = [case.op for case in cases if not case.held_out]
    plan = request.plan(gpus)
    items = [item_from(plan, 1, 0)]
    items += [item_from(plan, rows, age) for rows in (1, 2, 3, 4) for age in (1, 2, 3, None)]
    asked = [plan.dit_pass(stage, item) for stage in plan.stages for item in items]
    asked += [plan.hop(item) for item in items]
    for op in asked:
        same = [coordinates(other) for other in fitted if isinstance(other, type(op))]
        for name, value in coordinates(op).items():
            assert min(c[name] for c in same) <= value <= max(c[name] for c in same), (op, name)
    assert {call(age) for call in (plan.encode, plan.decode) for age in (0, 1)} <= set(fitted)


def test_more_latents_in_a_chunk_than_the_window_turns_over_are_refused():
    with pytest.raises(UserError, match="chunk_latents = 4"):
        replace(REQUEST, chunk_latents=4).plan()


def test_both_ends_of_the_vae_are_timed_at_the_start_and_later():
    ops = {case.op for case in kernel_cases(REQUEST, 1) if not isinstance(case.op, DitPass)}
    assert ops == {
        kind("tiny", 160, 256, latents, latents == 2)
        for kind in (VaeEncode, VaeDecode)
        for latents in (1, 2)
    }


def test_hops_span_the_sizes_of_the_resolution_in_every_situation():
    cases = hop_cases(REQUEST, 2)
    fitted = [case.op.size_bytes for case in cases if not case.held_out]
    plan = REQUEST.plan()
    assert min(fitted) < 4096
    assert max(fitted) > HEADER_BYTES + 4 * plan.row_bytes(1)
    assert {case.op.size_bytes for case in cases if case.held_out} >= {
        HEADER_BYTES + 2 * plan.row_bytes(1)
    }
    assert all(isinstance(case.op, Hop) for case in cases)
    assert len(cases) == len(HOP_TAGS) * len({case.op for case in cases})


@pytest.mark.parametrize("ranks", [(), (0,), (2, 2)])
def test_refuses_ranks_that_make_no_sense(ranks):
    with pytest.raises(UserError, match="ranks = "):
        CalibrationRequest(ranks=ranks)


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="known: tiny"):
        CalibrationRequest(model="none").plan()
