"""The contract of every profile that ships and every link: nothing gets faster with more work."""

from dataclasses import replace
from itertools import pairwise

import pytest

from streamtwin.calibrate.cases import CalibrationRequest, item_from
from streamtwin.calibrate.locate import shipped_profiles
from streamtwin.calibrate.profile import read_profile
from streamtwin.core import catalog
from streamtwin.core.ops import Hop
from streamtwin.core.plan import Stage

PROFILES = sorted(path.name for path in shipped_profiles().iterdir() if path.is_dir())
every_profile = pytest.mark.parametrize("name", PROFILES)
every_link = pytest.mark.parametrize("name", catalog.names("links"))


def asked(name):
    """The latency model of a shipped profile, and the plans that it was made for."""
    profile = read_profile(shipped_profiles() / name)
    keys = ("model", "vae", "resolution", "window", "sink", "chunk_latents")
    requests = [
        CalibrationRequest(**{k: tuple(r[k]) if k == "resolution" else r[k] for k in keys},
                           ranks=(1,), device=r["device"])
        for r in profile.requests
    ]  # fmt: skip
    return profile.latency_model(1), [request.plan() for request in requests]


def rows_of(model, plan):
    """Numbers of rows that the profile answers for."""
    fit = next(f for f in model.fits if f.family == "dit" and f.subject == plan.model.name)
    return [rows for rows in (1, 2, 3, 4) if rows <= fit.ranges["rows"][1]]


def rise(times):
    """Each no less than the one before, but for rounding."""
    return all(later >= sooner * (1 - 1e-9) for sooner, later in pairwise(times))


def a_pass(plan, blocks, rows, youngest=None):
    stage = Stage(0, range(blocks), True, True, True, True)
    return plan.dit_pass(stage, item_from(plan, rows, youngest))


@every_profile
def test_says_what_it_was_made_for(name):
    profile = read_profile(shipped_profiles() / name)
    assert profile.name == name
    assert profile.requests
    assert {fit.family for fit in profile.fits} >= {"dit", "encode", "decode", "hop"}
    assert profile.provenance.date


@every_profile
def test_every_interval_holds_its_prediction(name):
    model, plans = asked(name)
    for plan in plans:
        ops = [plan.encode(0), plan.encode(1), plan.decode(0), plan.decode(1), Hop(10_000)]
        for op in [*ops, a_pass(plan, plan.model.blocks, 1), a_pass(plan, 1, 1, 0)]:
            found = model.predict(op)
            assert 0 < found.low_s <= found.mean_s <= found.high_s
            assert found.high_s > found.low_s


@every_profile
def test_more_work_takes_no_less_time(name):
    model, plans = asked(name)
    for plan in plans:
        rows, blocks = rows_of(model, plan), plan.model.blocks
        chains = [
            *([a_pass(plan, blocks, n, youngest) for youngest in range(1, 8)] for n in rows),
            *(between_sizes(model, plan, n, share) for n in rows for share in (1 / 3, 1 / 2, 1.0)),
            [a_pass(plan, n, 1) for n in range(0, blocks + 1, 5)],
            [a_pass(plan, blocks, n) for n in rows],
            [a_pass(plan, blocks, rows[-1], youngest) for youngest in range(1, 8)],
            [Hop(size) for size in (1, 10_000, 1_000_000, 100_000_000)],
        ]
        for chain in chains:
            times = [model.predict(op).mean_s for op in chain]
            assert rise(times), chain


def between_sizes(model, plan, rows, share):
    """Passes over more and more tokens within what the profile answers for, by frames attended."""
    fit = next(f for f in model.fits if f.family == "dit" and f.subject == plan.model.name)
    low, high = (int(end) for end in fit.ranges["tokens"])
    op = a_pass(plan, plan.model.blocks, rows)
    steps = sorted({low, high, *range(low, high, 48)})
    frames = max(2.0, 6 * share)
    return [replace(op, tokens=tokens, kv_tokens=frames * tokens) for tokens in steps
            if fit.ranges["kv_tokens"][0] <= frames * tokens <= fit.ranges["kv_tokens"][1]
            and fit.ranges["query_tokens"][0] <= rows * tokens <= fit.ranges["query_tokens"][1]]  # fmt: skip


@every_profile
def test_the_same_keys_take_no_less_time_from_more_tokens(name):
    """K held fast, S grows: windows of different sizes that hold as many tokens."""
    model, plans = asked(name)
    for plan in plans:
        op = a_pass(plan, plan.model.blocks, 1)
        chain = [
            replace(op, tokens=tokens, kv_tokens=3120.0) for tokens in (1024, 1200, 1400, 1560)
        ]
        times = [model.predict(one).mean_s for one in chain]
        assert rise(times)


@every_profile
def test_larger_frames_take_longer(name):
    model, plans = asked(name)
    for one in plans:
        for other in plans:
            if one.model == other.model and one.scenario.size.tokens < other.scenario.size.tokens:
                for make in (lambda p: p.encode(1), lambda p: p.decode(1),
                             *(lambda p, n=n: a_pass(p, p.model.blocks, n)
                               for n in rows_of(model, one))):  # fmt: skip
                    assert rise([model.predict(make(plan)).mean_s for plan in (one, other)])


@every_link
def test_a_link_takes_its_latency_and_longer_for_more(name):
    link = catalog.link(name)
    assert link.transfer_s(0) == link.latency_s >= 0
    doubled = link.transfer_s(2e6) - link.transfer_s(1e6)
    assert doubled == pytest.approx(1e6 / link.bytes_per_s)
    assert link.hop_s(1e6) >= link.transfer_s(1e6)
    assert link.source
    assert link.latency_source


@every_link
def test_a_blocking_receive_says_where_its_cost_comes_from(name):
    link = catalog.link(name)
    assert (link.receive_s is None) == (link.receive_source is None)
    assert replace(link, receive_s=None, receive_source=None).hop_s(5) == link.transfer_s(5)


def test_every_card_has_a_link_of_the_catalogue():
    for card in map(catalog.gpu, catalog.names("gpus")):
        assert catalog.link(card.link).between == "cards"
