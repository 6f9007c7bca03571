"""Sinks are replaced where the policy says so, alike on any number of ranks and in any run."""

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import SPEC, VAE, context, latents, make_stage, normal
from test_kernels_dit import HostWaits

from streamtwin.core.plan import Plan, Stage
from streamtwin.core.policies.sink import SINK, SinkView, kv_similarity
from streamtwin.core.ring import Item, Row
from streamtwin.core.scenario_file import check_scenario
from streamtwin.core.slots import EMPTY
from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow
from streamtwin.kernels.sinks import frame_means, similarities
from streamtwin.kernels.stage import StageKernels, Work

CHUNKS = 14


def make_plan(cuts=(), policy="kv_similarity", threshold=0.6, prompts=None, **deployment):
    scenario = check_scenario(
        {
            "resolution": [32, 48],
            "workload": {"chunks": CHUNKS, "visits": [{"prompts": prompts or {}}]},
            "deployment": {"steps": 2, "window": 5, "sink": 2, **deployment},
            "conditioning": {
                "sink_refresh": policy,
                "sink_threshold": threshold,
                "rope_refresh": "reset",
                "rope_threshold": 8,
            },
        },
        "test",
    )
    bounds = (0, *cuts, SPEC.blocks)
    stages = tuple(
        Stage(r, range(a, b), *(a == 0, b == SPEC.blocks) * 2)
        for r, (a, b) in enumerate(pairwise(bounds))
    )
    return Plan(scenario, SPEC, VAE, stages, 4)


class Played:
    """A stream passed chunk by chunk through all stages of a plan in this process."""

    def __init__(self, plan):
        self.plan = plan
        self.kernels = [StageKernels(plan, stage) for stage in plan.stages]
        self.states = [kernels.new_session(0) for kernels in self.kernels]

    def chunk(self, ordinal):
        frames = self.plan.scenario.shape.latents_of(ordinal)
        work = Work(latents(1, frames, ordinal), (700,))
        for step in range(2):
            item = Item(1 if ordinal else 0, (Row(0, ordinal, ordinal, step),))
            work.timesteps = (700, 500)[step : step + 1]
            for kernels, state in zip(self.kernels, self.states, strict=True):
                work = kernels.run({0: state}, item, work)
        return work.latents

    def to_the_end(self, begin=0):
        return torch.cat([self.chunk(ordinal) for ordinal in range(max(1, begin), CHUNKS)])

    @property
    def replaced(self):
        """(global block, step, chunk, slot) of every replacement."""
        return sorted(
            (kernels.stage.blocks[one.block], one.row.step, one.row.chunk, one.slot)
            for kernels, state in zip(self.kernels, self.states, strict=True)
            for one in state.sinks.replaced
        )


@pytest.fixture(scope="module")
def whole():
    played = Played(make_plan())
    played.chunk(0)
    played.output = played.to_the_end()
    return played


@pytest.mark.parametrize("cuts", [(1,), (1, 2, 3)])
def test_decisions_and_bits_do_not_depend_on_the_partition(cuts, whole):
    played = Played(make_plan(cuts))
    played.chunk(0)
    assert torch.equal(played.to_the_end(), whole.output)
    assert played.replaced == whole.replaced


def test_blocks_and_rows_decide_for_themselves(whole):
    assert len(whole.replaced) > 10
    decided = {(b, s): set() for b in range(SPEC.blocks) for s in range(2)}
    for block, step, chunk, slot in whole.replaced:
        decided[block, step].add((chunk, slot))
    assert len({frozenset(one) for one in decided.values()}) > 2
    first = min(chunk for _, _, chunk, _ in whole.replaced)
    # chunk 4 begins at frame 5, when all five slots are full
    assert first >= 4


def test_every_decision_is_kept_with_what_it_saw(whole):
    for state in whole.states:
        for one in state.sinks.replaced:
            assert SINK["kv_similarity"](one.view) == one.slot
            saw = one.saw
            assert saw["threshold"] == 0.6
            assert saw[f"similarity_{one.slot}"] == min(one.view.similarities) < 0.6
    asked = SPEC.blocks * 2 * (CHUNKS - 4)
    kept = sum(s.sinks.kept + sum(o.kept for o in s.sinks.replaced) for s in whole.states)
    assert kept + len(whole.replaced) == asked


@pytest.mark.parametrize("policy", list(SINK))
def test_a_threshold_of_minus_one_replaces_nothing(policy):
    never, other = Played(make_plan(policy="never")), Played(make_plan((), policy, -1.0))
    for ordinal in range(CHUNKS):
        assert torch.equal(other.chunk(ordinal), never.chunk(ordinal))
    assert other.replaced == []


def test_what_a_pass_finds_is_used_by_the_next_of_its_row():
    """Found after chunk n, a sink is replaced by chunk n + 1: checked against numbers by hand."""
    played = Played(make_plan())
    state = played.states[0]
    found = {}
    for ordinal in range(CHUNKS):
        before = len(state.sinks.replaced)
        played.chunk(ordinal)
        for one in state.sinks.replaced[before:]:
            expected = found[one.block, one.row.step]
            assert one.view.similarities == pytest.approx(expected, abs=1e-5)
            held = state.cache.held[one.block][one.row.step]
            assert held.frames[one.slot] == one.view.frame == ordinal + 1
        found = by_hand(state.cache)


def by_hand(cache):
    """Cosines of token means in float64, by block and row, from what the slots hold."""
    S, found = cache.tokens, {}
    for block, books in enumerate(cache.held):
        for row, held in enumerate(books):
            if EMPTY in held.frames:
                continue
            newest = held.frames.index(max(held.frames))
            means = [
                [
                    x[block][row, s * S : s * S + S].double().mean(0).flatten()
                    for s in (0, 1, newest)
                ]
                for x in (cache.k, cache.v)
            ]
            found[block, row] = tuple(
                sum(float(m[sink] @ m[2] / (m[sink].norm() * m[2].norm())) for m in means) / 2
                for sink in (0, 1)
            )
    return found


@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_similarity_is_the_mean_of_two_cosines(sink, ring, data):
    tokens, newest = 2, data.draw(st.integers(0, sink + ring - 1))
    k, v = (normal((sink + ring) * tokens, 2, 4, seed=seed) for seed in (1, 2))
    found = similarities(frame_means(k, v, sink, tokens, newest))
    assert found.shape == (sink,)
    for slot in range(sink):
        cosines = []
        for x in (k, v):
            one, new = (x[s * tokens : s * tokens + 2].mean(0).flatten() for s in (slot, newest))
            cosines.append(float(one @ new / one.norm() / new.norm()))
        assert float(found[slot]) == pytest.approx(sum(cosines) / 2, abs=1e-5)
    if newest < sink:
        assert float(found[newest]) == pytest.approx(1)


def test_a_pass_that_compares_sinks_does_not_wait():
    stage, window = make_stage(range(2)), Window(5, 2)
    cache = stage.new_cache(2, window)
    text = stage.read_text(context)
    rows = [PassRow(0, 9, 1), PassRow(1, 8, 1)]
    x, steps = stage.embed(latents(2, 1)), torch.full((2, 1), 500.0)
    with HostWaits() as waits:
        stage(x, steps, rows, [cache] * 2, [text] * 2)
        for row in rows:
            cache.watch.compare(cache.k, cache.v, cache.held, row.kv_row, window.sink)
    assert waits.seen == []
    assert len(cache.watch.read(0)) == 2


@settings(max_examples=8, deadline=None)
@given(st.integers(1, CHUNKS - 1), st.integers(0, 1))
def test_a_block_moves_with_all_that_belongs_to_it(whole, ordinal, side):
    """At any chunk the border between two stages moves by a block; the output never notices."""
    before, after = ((2,), (1,)) if side else ((2,), (3,))
    old = Played(make_plan(before))
    old.chunk(0)
    head = [old.chunk(n) for n in range(1, ordinal)]
    new = Played(make_plan(after))
    prompts = [state.texts for state in new.states]
    new.states = copy.deepcopy(old.states)
    for state, texts in zip(new.states, prompts, strict=True):
        state.texts = texts
    left, right = (state.cache for state in new.states)
    if side:
        right.put(0, left.take(1))
    else:
        left.put(2, right.take(0))
    assert (len(left.held), len(right.held)) == (len(left.k), len(right.k))
    assert len(left.k) == after[0]
    tail = new.to_the_end(ordinal)
    assert torch.equal(torch.cat([*head, tail]), whole.output)


def test_a_changed_prompt_replaces_every_sink_once():
    prompts = {0: "rain", 7: "snow", 11: "much snow"}
    played = Played(make_plan(policy="prompt", threshold=0.5, prompts=prompts))
    # the embeddings that stand in for prompts are all unlike each other
    played.states[0].cache.enter_prompt(2, {0: 0.1, 1: 0.8})
    for ordinal in range(CHUNKS):
        played.chunk(ordinal)
    expected = {(7, 0), (8, 1)}
    for block in range(SPEC.blocks):
        for step in range(2):
            mine = {(c, slot) for b, s, c, slot in played.replaced if (b, s) == (block, step)}
            assert mine == expected


def test_the_least_alike_sink_below_the_threshold_is_named():
    def chosen(*values, threshold=0.2):
        return kv_similarity(SinkView(9, len(values), threshold, values))

    assert chosen(0.3, 0.1, 0.15) == 1
    assert chosen(0.3, 0.2, 0.9) is None
    assert chosen() is None
    assert chosen(float("nan"), float("nan")) is None
