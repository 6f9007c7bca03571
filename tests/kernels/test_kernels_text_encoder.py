"""A real, small umT5 encodes prompts; what is missing is said with what to do."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from kernel_cases import SPEC, error
from safetensors.torch import load_file, save_file

from streamtwin.core.errors import UserError
from streamtwin.kernels.text_encoder import TextEncoder, check_encoder, cleaned
from umt5_cases import write_umt5

PROMPT = "a dog runs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_umt5(tmp_path_factory.mktemp("umt5"), SPEC.text_dim)


def test_a_prompt_is_encoded_as_in_a_masked_padded_batch(folder: Path) -> None:
    """The reference pads to text_len and zeroes the rows of the padding."""
    encode = TextEncoder(folder, SPEC)
    made = encode(PROMPT)
    ids = torch.tensor([[3, 4, 6, 1, 0, 0]])
    mask = (ids != 0).long()
    with torch.inference_mode():
        states = encode.encoder(ids, attention_mask=mask).last_hidden_state[0]
    assert made.shape == (SPEC.text_len, SPEC.text_dim)
    assert error(made[:4], states[:4]) < 1e-5
    assert not made[4:].any()
    assert bool(made[:4].any(dim=1).all())


def test_encoding_is_repeatable_and_tells_prompts_apart(folder: Path) -> None:
    one, other = TextEncoder(folder, SPEC), TextEncoder(folder, SPEC)
    assert torch.equal(one(PROMPT), other(PROMPT))
    assert not torch.equal(one(PROMPT), one("a cat runs"))
    assert bool(one("").any())  # the end mark alone


def test_a_long_prompt_is_cut_with_its_end_mark_kept(folder: Path) -> None:
    encode = TextEncoder(folder, SPEC)
    assert torch.equal(encode("a dog runs through snow a cat"), encode("a dog runs through snow"))
    assert bool(encode("a " * 100).any(dim=1).all())


def test_white_space_and_entities_do_not_matter(folder: Path) -> None:
    encode = TextEncoder(folder, SPEC)
    assert torch.equal(encode("  a dog\n\t runs "), encode(PROMPT))
    assert torch.equal(encode("a &amp; dog"), encode("a & dog"))
    assert cleaned("a &amp;amp; b") == "a & b"


def test_encoder_and_tokenizer_may_stand_apart(folder: Path, tmp_path: Path) -> None:
    write_umt5(tmp_path / "text_encoder", SPEC.text_dim, tmp_path / "tokenizer")
    expected = TextEncoder(folder, SPEC)(PROMPT)
    for named in (tmp_path, tmp_path / "text_encoder"):
        assert torch.equal(TextEncoder(named, SPEC)(PROMPT), expected)


def test_folders_that_are_no_encoder_are_refused(folder: Path, tmp_path: Path) -> None:
    wide = write_umt5(tmp_path / "wide", 48)
    (tmp_path / "none").mkdir()
    bare = write_umt5(tmp_path / "bare", SPEC.text_dim)
    (bare / "tokenizer_config.json").unlink()
    other = write_umt5(tmp_path / "other", SPEC.text_dim)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    for path, told in {
        tmp_path / "nowhere": "no such folder",
        tmp_path / "none": "lacks config.json",
        wide: r"d_model = 48; small takes a umt5 with d_model = 24",
        bare: "lacks tokenizer_config.json",
        other: "model_type = 'bert'",
    }.items():
        with pytest.raises(UserError, match=told):
            check_encoder(path, SPEC)


def test_an_encoder_that_lacks_tensors_is_refused(tmp_path: Path) -> None:
    folder = write_umt5(tmp_path / "umt5", SPEC.text_dim)
    weights = load_file(folder / "model.safetensors")
    lost = "encoder.block.1.layer.0.SelfAttention.q.weight"
    del weights[lost]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=rf"lacks 1 tensors of umT5, as {lost}"):
        TextEncoder(folder, SPEC)
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(UserError, match="cannot be loaded as umT5"):
        TextEncoder(folder, SPEC)


def test_a_missing_library_is_answered_with_its_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = importlib.import_module

    def without(name: str, *args: Any) -> Any:
        if name == "transformers":
            raise ModuleNotFoundError(name)
        return plain(name, *args)

    monkeypatch.setattr(importlib, "import_module", without)
    for use in (check_encoder, TextEncoder):
        with pytest.raises(UserError, match=r"pip install 'streamtwin\[text\]'"):
            use(folder, SPEC)
