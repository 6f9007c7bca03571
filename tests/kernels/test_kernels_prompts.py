"""What a prompt becomes: from the seed, from a file, from an encoder; and when it is computed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_cases import plan_of
from kernel_cases import SPEC, normal
from safetensors.torch import save_file

from streamtwin.core.errors import UserError
from streamtwin.core.ring import Item, Row
from streamtwin.core.scenario_file import check_scenario
from streamtwin.kernels.dit_layers import CrossAttention
from streamtwin.kernels.prompts import SeededPrompts, hand_over, read_embedding
from streamtwin.kernels.seeding import stable_seed
from streamtwin.kernels.stage import StageKernels, Work

SHAPE = (SPEC.text_len, SPEC.text_dim)


def test_seeded_embeddings_depend_on_seed_and_prompt_alone() -> None:
    source = SeededPrompts(SPEC, 3)
    assert source("a cat").shape == SHAPE
    assert torch.equal(source("a cat"), SeededPrompts(SPEC, 3)("a cat"))
    others = [source(""), source("a dog"), SeededPrompts(SPEC, 4)("a cat")]
    assert not any(torch.equal(source("a cat"), other) for other in others)


def test_the_embedding_without_a_prompt_is_what_it_was() -> None:
    """Results that were recorded without a prompt stay what they are."""
    generator = torch.Generator().manual_seed(stable_seed("prompt", 5))
    assert torch.equal(SeededPrompts(SPEC, 5)(""), torch.randn(SHAPE, generator=generator))


def test_handed_embeddings_come_back_by_prompt(tmp_path: Path) -> None:
    made = {"": normal(*SHAPE, seed=1), "ein Hund \u2764": normal(*SHAPE, seed=2)}
    made["__metadata__"] = normal(*SHAPE, seed=3)
    source = hand_over(made, tmp_path / "prompts.safetensors")
    assert all(torch.equal(source(prompt), value) for prompt, value in made.items())
    with pytest.raises(UserError, match=r"prompt 'a cat': no embedding was prepared"):
        source("a cat")


def write(path: Path, value: torch.Tensor) -> Path:
    if path.suffix == ".npy":
        np.save(path, value.float().numpy())
    elif path.suffix == ".safetensors":
        save_file({"prompt_embeds": value}, path)
    elif path.suffix == ".pth":
        torch.save({"context": value}, path)
    else:
        torch.save(value, path)
    return path


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".npy"])
@pytest.mark.parametrize("rows", [1, 4, SPEC.text_len])
@pytest.mark.parametrize("batched", [False, True])
def test_an_embedding_is_read_and_padded(
    suffix: str, rows: int, batched: bool, tmp_path: Path
) -> None:
    value = normal(rows, SPEC.text_dim)
    path = write(tmp_path / f"e{suffix}", value[None] if batched else value)
    read = read_embedding(path, SPEC)
    assert read.shape == SHAPE
    assert read.dtype == torch.float32
    assert torch.equal(read[:rows], value)
    assert not read[rows:].any()


WRONG = {
    "too long": (torch.ones(SPEC.text_len + 1, SPEC.text_dim), "has shape [7, 24]"),
    "too wide": (torch.ones(2, SPEC.text_dim + 1), "takes floats [1 to 6 tokens, 24]"),
    "two prompts": (torch.ones(2, 3, SPEC.text_dim), "has shape [2, 3, 24]"),
    "no rows": (torch.ones(0, SPEC.text_dim), "has shape [0, 24]"),
    "tokens": (torch.ones(2, SPEC.text_dim, dtype=torch.int64), "of int64"),
    "not finite": (torch.full((2, SPEC.text_dim), torch.nan), "not finite"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_embedding_is_refused(case: str, tmp_path: Path) -> None:
    value, told = WRONG[case]
    torch.save(value, tmp_path / "e.pt")
    with pytest.raises(UserError) as error:
        read_embedding(tmp_path / "e.pt", SPEC)
    assert str(error.value).startswith(f"{tmp_path / 'e.pt'}: ")
    assert told in str(error.value)


def test_a_file_that_is_no_embedding_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "code.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00v")
    save_file({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "two.safetensors")
    (tmp_path / "e.txt").write_text("0 1 2")
    (tmp_path / "empty.pt").touch()
    for name, told in {
        "code.npy": "cannot be read as an array",
        "cut.npy": "cannot be read as an array",
        "two.safetensors": "holds not one tensor",
        "e.txt": "unknown kind of file",
        "empty.pt": "is empty",
        "nowhere.npy": "no such file",
    }.items():
        with pytest.raises(UserError, match=told):
            read_embedding(tmp_path / name, SPEC)


def test_text_keys_and_values_are_computed_once_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the blocks of the rank that owns them; a pass computes none."""
    made: list[CrossAttention] = []
    plain = CrossAttention.keys_values

    def counted(self: CrossAttention, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        made.append(self)
        return plain(self, x)

    monkeypatch.setattr(CrossAttention, "keys_values", counted)
    plan = plan_of(2)
    kernels = StageKernels(plan, plan.stages[0])
    state = kernels.new_session(0)
    own = [block.cross_attn for block in kernels.dit.blocks.values()]
    assert made == own
    size = plan.scenario.size
    for ordinal in range(3):
        latents = plan.scenario.shape.latents_of(ordinal)
        work = Work(kernels.zeros(1, latents, SPEC.latent_channels, *size.latent), (700,))
        kernels.run({0: state}, Item(ordinal, (Row(0, ordinal, ordinal, 0),)), work)
    assert made == own


def test_sessions_have_the_prompts_that_the_scenario_gives_them() -> None:
    kernels = kernels_saying("a cat", [{}, {"prompts": {0: "a dog"}}, {"prompts": {3: "a dog"}}])
    cat, dog, later = (kernels.new_session(session).texts for session in range(3))
    assert [set(texts) for texts in (cat, dog, later)] == [{"a cat"}, {"a dog"}, {"a cat"}]
    assert torch.equal(*(torch.stack(text.k) for text in (cat["a cat"], later["a cat"])))
    assert not torch.equal(*(torch.stack(text.k) for text in (cat["a cat"], dog["a dog"])))


def kernels_saying(prompt: str, visits: list[dict], **given: Any) -> StageKernels:
    """Kernels of a plan whose sessions say *prompt* unless their visit says another."""
    plan = plan_of()
    data = plan.scenario.model_dump(mode="json")
    data["conditioning"]["prompt"] = prompt
    data["workload"] |= {"sessions": len(visits), "visits": visits}
    plan = replace(plan, scenario=check_scenario(data, "test"))
    return StageKernels(plan, plan.stages[0], **given)


def test_a_prompt_s_embedding_comes_from_the_source_that_is_given() -> None:
    asked: list[str] = []

    def source(prompt: str) -> torch.Tensor:
        asked.append(prompt)
        return normal(*SHAPE, seed=8)

    kernels = kernels_saying("a cat", [{}], prompts=source)
    state = kernels.new_session(0)
    assert asked == ["a cat"]
    expected = kernels.dit.read_text(normal(*SHAPE, seed=8))
    read = state.texts["a cat"]
    for found, same in ((read.k, expected.k), (read.v, expected.v)):
        assert torch.equal(torch.stack(found), torch.stack(same))
