"""Compiled parts of a block compute what the block computes, in one version a shape."""

import shutil

import pytest
import torch
from kernel_cases import context, latents, make_stage, new_session, normal, one_session
from torch._dynamo.testing import CompileCounterWithBackend

from streamtwin.kernels.cache import PassRow
from streamtwin.kernels.compiled import compiled_parts
from streamtwin.kernels.rope import frame_positions, pass_rotations, rotate, space_rotations


def run(stage, turns=8):
    """Latents of a stream batch of two rows, from its first chunk on."""
    session = new_session(stage, context, 2)
    out = []
    for turn in range(turns):
        rows = [PassRow(n, turn - n, 1) for n in range(2) if turn >= n]
        times = torch.tensor([[700.0], [500.0]])[: len(rows)]
        x = one_session(stage, stage.embed(latents(len(rows), 1, turn)), times, rows, session)
        out.append(stage.unembed(x, times))
    return out


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def differs_by(stage, parts):
    plain = run(stage)
    stage.parts = parts
    return max(float((a - b).abs().max()) for a, b in zip(run(stage), plain, strict=True))


def test_compiled_parts_equal_the_block():
    stage = make_stage()
    counter = CompileCounterWithBackend("aot_eager")
    assert differs_by(stage, compiled_parts(counter)) < 1e-5
    # three parts, for one row and for two; not one a block, a slot or a length
    assert counter.frame_count == 6


def test_many_rows_are_compiled_each():
    """More versions than PyTorch allows a function by default, with an error beyond."""
    stage = make_stage(range(1))
    counter = CompileCounterWithBackend("eager")
    stage.parts = compiled_parts(counter)
    session = new_session(stage, context, 10)
    for count in range(1, 11):
        times = torch.full((count, 1), 500.0)
        x = stage.embed(latents(count, 1))
        one_session(stage, x, times, [PassRow(n, 0, 1) for n in range(count)], session)
    assert counter.frame_count == 30


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what the compiler itself imports
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_the_default_compiler_agrees():
    stage = make_stage(range(2))
    assert differs_by(stage, compiled_parts()) < 1e-5


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12), (torch.bfloat16, 2**-7)]
)
def test_real_rotations_equal_complex_ones(dtype, bound):
    kind = torch.complex128 if dtype == torch.float64 else torch.complex64
    cpu = torch.device("cpu")
    space = space_rotations(4, 6, 128, cpu, kind)
    rows = [PassRow(0, 100_000, 2), PassRow(1, 7, 2)]
    table = pass_rotations(frame_positions(rows, cpu), space, 128)
    x = normal(2, 48, 3, 128).to(dtype)
    one, other = rotate(x, table), rotate(x, torch.view_as_real(table))
    assert one.dtype == other.dtype == dtype
    assert float((one - other).abs().max() / one.abs().max()) <= bound
