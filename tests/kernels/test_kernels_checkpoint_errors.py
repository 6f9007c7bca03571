"""A checkpoint that does not fit is answered in one line that names the tensors."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoint_cases import dit_weights, plan_of, vae_weights, write_shards
from safetensors.torch import save_file

from streamtwin.core.errors import UserError
from streamtwin.kernels.weights import dit_checkpoint, vae_checkpoint

Change = Callable[[dict[str, torch.Tensor]], object]
Q = "blocks.2.self_attn.q.weight"

MISTAKES: dict[str, tuple[Change, list[str]]] = {
    "missing": (lambda w: w.pop(Q), [f"missing: {Q} [64, 64]"]),
    "extra": (lambda w: w.update(img_emb=torch.ones(3)), ["extra: img_emb in FILE [3]"]),
    "block the model lacks": (
        lambda w: w.update({"blocks.4.norm3.bias": torch.ones(64)}),
        ["it holds 5 blocks of width 64, not 4", "extra: blocks.4.norm3.bias in FILE [64]"],
    ),
    "shape": (
        lambda w: w.update({Q: torch.ones(64, 32)}),
        [f"wrong shape: {Q} in FILE is [64, 32], expected [64, 64]"],
    ),
    "quantised": (lambda w: w.update({Q: w[Q].to(torch.int8)}), ["no plain floats: ", Q]),
    "all at once": (
        lambda w: [w.pop(Q), w.update({"head.modulation": torch.ones(1, 64)}, x=torch.ones(1))],
        [f"missing: {Q}", "extra: x in FILE", "wrong shape: head.modulation in FILE is [1, 64]"],
    ),
    "many": (
        lambda w: [w.pop(name) for name in list(w) if name.startswith("blocks.1.")],
        ["missing: blocks.1.cross_attn.k.bias [64], ", "and 23 more"],
    ),
    "none of it": (lambda w: [w.clear(), w.update(a=torch.ones(2))], ["extra: a in FILE [2]"]),
}


@pytest.mark.parametrize("format", ["model.pt", "model.safetensors"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_tensors_that_do_not_fit_are_named(mistake: str, format: str, tmp_path: Path) -> None:
    change, told = MISTAKES[mistake]
    weights = dit_weights()
    change(weights)
    path = tmp_path / format
    torch.save({"generator": weights}, path) if format == "model.pt" else save_file(weights, path)
    message = refused(path)
    assert message.startswith(f"weights.dit: {path}: not a checkpoint of small")
    for part in told:
        assert part.replace("FILE", format) in message


def refused(path: Path, part: str = "dit") -> str:
    """The one short line with which *path* is refused."""
    look = dit_checkpoint if part == "dit" else vae_checkpoint
    with pytest.raises(UserError) as error:
        look(plan_of(**{part: str(path)}))
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 1500 + len(str(path))
    return message


def test_another_size_is_said(tmp_path: Path) -> None:
    narrow = {name: value[:32] for name, value in dit_weights().items()}
    narrow = {name: value for name, value in narrow.items() if "blocks.3." not in name}
    torch.save(narrow, tmp_path / "model.pt")
    assert "it holds 3 blocks of width 32, not 4 blocks of width 64" in refused(tmp_path)
    wide = {name: torch.cat([value, value]) for name, value in vae_weights().items()}
    torch.save(wide, tmp_path / "Wan2.1_VAE.pth")
    message = refused(tmp_path / "Wan2.1_VAE.pth", "vae")
    assert "it holds a base of 8 channels, not a base of 4 channels" in message


def test_a_dit_is_no_vae(tmp_path: Path) -> None:
    torch.save(dit_weights(), tmp_path / "model.pt")
    message = refused(tmp_path / "model.pt", "vae")
    assert "missing: " in message
    assert "extra: " in message


def test_a_shard_is_named_with_its_tensor(tmp_path: Path) -> None:
    weights = dit_weights() | {Q: torch.ones(2)}
    write_shards(tmp_path / "hub", weights, 3, "diffusion_pytorch_model")
    shard = list(weights).index(Q) % 3 + 1
    place = f"{Q} in diffusion_pytorch_model-{shard:05d}-of-00003.safetensors is [2]"
    assert place in refused(tmp_path / "hub")


def test_a_config_tells_what_shapes_cannot(tmp_path: Path) -> None:
    save_file(dit_weights(), tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"num_heads": 4, "dim": 64, "eps": 1e-5}))
    message = refused(tmp_path)
    assert "config.json: is not of small: num_heads = 4, not 2, eps = 1e-05, not 1e-06" in message
    (tmp_path / "config.json").write_text("{")
    assert "config.json: cannot be read as JSON" in refused(tmp_path)


def damaged(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that are none, with what is to be said of each."""
    good, safe = folder / "good.pt", folder / "good.safetensors"
    torch.save({"generator": dit_weights()}, good)
    save_file(dit_weights(), safe)

    def cut(file: Path, name: str) -> Path:
        (folder / name).write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        return folder / name

    def written(name: str, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    (folder / "none").mkdir()
    (folder / "two").mkdir()
    for name in ("a.pt", "b.pt"):
        (folder / "two" / name).touch()
    torch.save([torch.ones(2)], folder / "list.pt")
    torch.save({"generator": {"x": torch.ones(2), "step": 3}}, folder / "mixed.pt")
    return {
        "cut torch file": (cut(good, "cut.pt"), "damaged or incomplete"),
        "cut safetensors": (cut(safe, "cut.safetensors"), "damaged or incomplete"),
        "noise as torch file": (written("noise.pth", bytes(range(256)) * 9), "damaged"),
        "noise as safetensors": (written("n.safetensors", b"\xff" * 99), "damaged"),
        "text as torch file": (written("text.pth", b"junk" * 99), "torch.save (KeyError: "),
        "empty": (written("empty.pt", b""), "is empty"),
        "empty safetensors": (written("empty.safetensors", b""), "is empty"),
        "nothing there": (folder / "nowhere.pt", "no such file or folder"),
        "folder of nothing": (folder / "none", "holds no checkpoint"),
        "folder of two": (folder / "two", "holds several checkpoints (a.pt, b.pt)"),
        "unknown kind": (written("model.gguf", b"GGUF"), "unknown kind of file; choose one of"),
        "a list": (folder / "list.pt", "holds a list, not tensors by name"),
        "no tensor": (folder / "mixed.pt", "'step' of type int among the weights"),
    }


@pytest.mark.parametrize("part", ["dit", "vae"])
@pytest.mark.filterwarnings("ignore:.*TypedStorage")
def test_files_that_are_no_checkpoint(part: str, tmp_path: Path) -> None:
    for path, told in damaged(tmp_path).values():
        message = refused(path, part)
        assert message.startswith(f"weights.{part}: {path}: ")
        assert told in message


class Runs:
    """What a hostile pickle does when it is loaded as code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("was-run",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = {"generator": dit_weights(), "optimizer": Runs()}
    torch.save(loaded, "model.pt", _use_new_zipfile_serialization=zipped)
    message = refused(tmp_path / "model.pt")
    assert re.search(r"asks to load \w+\.mkdir, which could run code: refused", message)
    assert not (tmp_path / "was-run").exists()


def test_shards_must_be_complete_and_where_the_index_says(tmp_path: Path) -> None:
    stem = "diffusion_pytorch_model"
    write_shards(tmp_path / "hub", dit_weights(), 3, stem)
    index = tmp_path / "hub" / f"{stem}.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    other = min(set(places.values()) - {places[Q]})
    index.write_text(json.dumps({"weight_map": places | {Q: other}}))
    assert f"lacks {Q}, which the index says is in it" in refused(tmp_path / "hub")
    index.write_text(json.dumps({"weight_map": places | {Q: "../elsewhere.safetensors"}}))
    assert "has no weight_map of tensors to files beside it" in refused(tmp_path / "hub")
    index.write_text(json.dumps({"weight_map": places | {"ghost": other}}))
    assert "lacks ghost" in refused(tmp_path / "hub")
    index.unlink()
    (tmp_path / "hub" / f"{stem}-00002-of-00003.safetensors").unlink()
    message = refused(tmp_path / "hub")
    assert "00002-of-00003.safetensors: cannot be read: " in message
    assert "No such file" in message
    save_file({Q: torch.ones(2)}, tmp_path / "hub" / f"{stem}-00002-of-00003.safetensors")
    assert f"{Q} is in {stem}-0000" in refused(tmp_path / "hub")
