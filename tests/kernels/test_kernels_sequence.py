"""Members that share a pass compute what one process computes; their exchanges lose nothing."""

from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
import torch
from kernel_cases import (
    RESOLUTION,
    SPEC,
    context,
    latents,
    make_stage,
    new_session,
    normal,
    one_session,
)

from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow
from streamtwin.kernels.sequence import SequenceGroup
from streamtwin.runtime.processes import RankContext, run_ranks
from streamtwin.runtime.transport import connect, disconnect

WINDOW = Window(6, 2)
S = RESOLUTION.tokens
BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-5}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Several threads on work this small wait for each other, for long on a busy host."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def group_of(run: RankContext, method: str, tokens: int = S) -> SequenceGroup:
    connect(run.rank, run.ranks, run.rendezvous)
    run.ready()
    ranks = tuple(range(run.ranks))
    return SequenceGroup(method, run.rank, run.ranks, tokens // run.ranks, ranks, None)  # type: ignore[arg-type]


class Done(NamedTuple):
    """Velocities of every pass, and what the cache holds at the end."""

    velocities: list[np.ndarray]
    k: np.ndarray
    v: np.ndarray
    likeness: list[tuple[float, ...]]
    """Of the sinks with the newest frame, in each block."""


def passes(sequence: SequenceGroup | None, T: int, dtype: torch.dtype) -> Done:
    """Ten passes of two rows, the first ones filling the window, over its wrap."""
    stage = make_stage(dtype=dtype, sequence=sequence)
    session, velocities = new_session(stage, context, 2, WINDOW), []
    for turn in range(1, 11):
        rows = [PassRow(0, T * turn, T), PassRow(1, T * (turn - 1), T)]
        steps = torch.tensor([[700.0] * T, [500.0] * T])
        x = stage.embed(latents(2, T, turn))
        if sequence is None:
            x = one_session(stage, x, steps, rows, session)
        else:
            own = x.new_empty(2, T * sequence.tokens, SPEC.dim)
            sequence.scatter(x if sequence.leads else None, own)
            x = sequence.gather(one_session(stage, own, steps, rows, session))
        if sequence is None or sequence.leads:
            velocities.append(stage.unembed(x, steps).numpy())
        session.cache.watch.compare(session.cache.k, session.cache.v, session.cache.held, 0, 2)
    found = session.cache.watch.read(0)
    assert found is not None
    return Done(
        velocities, *(torch.stack(one).numpy() for one in (session.cache.k, session.cache.v)), found
    )


def shared_passes(run: RankContext, method: str, T: int) -> list[Done]:
    sequence = group_of(run, method)
    with torch.inference_mode():
        done = [passes(sequence, T, dtype) for dtype in BOUNDS]
    disconnect()
    return done


def error(value: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(value - reference).max() / np.abs(reference).max())


@pytest.mark.parametrize(
    ("method", "members", "T"),
    [("ulysses", 2, 1), ("ulysses", 2, 3), ("ring", 2, 1), ("ring", 3, 3)],
)
def test_members_compute_what_one_process_computes(method, members, T):
    done = run_ranks(shared_passes, members, (method, T))
    for index, (dtype, bound) in enumerate(BOUNDS.items()):
        with torch.inference_mode():
            alone = passes(None, T, dtype)
        lead, *others = (results[index] for results in done)
        for velocity, expected in zip(lead.velocities, alone.velocities, strict=True):
            assert error(velocity, expected) < bound
        assert not any(member.velocities for member in others)
        for member, one in enumerate([lead, *others]):
            assert one.likeness == lead.likeness  # the same bits, or members would decide apart
            assert np.allclose(one.likeness, alone.likeness, atol=1e-6)
            for held, expected in ((one.k, alone.k), (one.v, alone.v)):
                assert error(held, share(expected, method, member, members)) < bound


def share(cache: np.ndarray, method: str, member: int, members: int) -> np.ndarray:
    """What *member* holds of [blocks, rows, window * S, heads, head_dim]."""
    if method == "ulysses":
        return np.split(cache, members, axis=3)[member]
    frames = cache.reshape(*cache.shape[:2], WINDOW.frames, S, *cache.shape[3:])
    own = np.split(frames, members, axis=3)[member]
    return own.reshape(*cache.shape[:2], -1, *cache.shape[3:])


def exchanges(run: RankContext) -> int:
    """Check the laws of the exchanges on this member; how many shapes were tried."""
    G, shapes = run.ranks, list(product((1, 2), (1, 3), (1, 4)))
    connect(run.rank, run.ranks, run.rendezvous)
    run.ready()
    for number, (B, T, own) in enumerate(shapes):
        group = SequenceGroup("ulysses", run.rank, G, own, tuple(range(G)), None)
        tokens, heads = own * G, 2 * G
        whole = normal(3, B, T * tokens, heads, 4, seed=number)  # the same on all members
        x = group.own(whole, 2)
        mine = group.to_heads(x)
        assert torch.equal(mine, whole[:, :, :, 2 * run.rank : 2 * run.rank + 2])
        for part, expected in zip(mine, x, strict=True):
            assert torch.equal(group.to_tokens(part), expected)

        messages = normal(G, B, 5, seed=100 * number + run.rank)
        sent = group.exchange(messages)
        for member in range(G):
            theirs = normal(G, B, 5, seed=100 * number + member)
            assert torch.equal(sent[member], theirs[run.rank])
        assert torch.equal(group.exchange(sent), messages)

        hidden = whole[0].flatten(2)
        given = group.scatter(hidden if group.leads else None, torch.empty_like(x[0].flatten(2)))
        assert torch.equal(given, group.own(hidden, 1))
        assert torch.equal(group.gather(given), hidden if group.leads else given)

        around = group.pass_on(messages)()
        assert torch.equal(around, normal(G, B, 5, seed=100 * number + (run.rank - 1) % G))
    disconnect()
    return len(shapes)


@pytest.mark.parametrize("members", [2, 3])
def test_exchanges_bring_everything_to_its_place_and_back(members):
    assert run_ranks(exchanges, members) == [8] * members


def test_a_share_is_part_of_every_frame():
    frames = torch.arange(2 * 6)[None].expand(1, 12)  # two frames of six tokens
    shares = [
        SequenceGroup("ring", member, 3, 2, (0, 1, 2), None).own(frames, 1)[0].tolist()
        for member in range(3)
    ]
    assert shares == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]


def test_frames_that_cannot_be_shared_equally_are_refused():
    with pytest.raises(RuntimeError, match="unflatten"):
        SequenceGroup("ring", 0, 3, 2, (0, 1, 2), None).own(torch.zeros(1, 7), 1)
