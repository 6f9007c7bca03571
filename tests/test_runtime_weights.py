"""A run with files given: they decide what is computed, and are checked before any rank starts."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from builders import make_plan
from streamtwin.core.errors import UserError
from streamtwin.core.library import clip_path
from streamtwin.core.metrics import compute_metrics
from streamtwin.core.plan import Plan
from streamtwin.core.records import Records
from streamtwin.kernels.prompts import SeededPrompts
from streamtwin.kernels.text_encoder import TextEncoder
from streamtwin.kernels.weights import stage_decoder, stage_dit, stage_encoder
from streamtwin.runtime import run as run_module
from streamtwin.runtime.given_files import prepare_prompts
from streamtwin.runtime.run import run_pipeline
from streamtwin.runtime.spool import encode_spool
from streamtwin.runtime.video import Clip, read_frames
from umt5_cases import write_umt5

SMALL = {"resolution": [32, 48], "chunks": 10}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return read_frames(clip_path(), 32, 48)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints and a prompt embedding that hold what seed 7 draws."""
    folder = tmp_path_factory.mktemp("files")
    plan = make_plan(**SMALL, seed=7)
    dit = stage_dit(plan, plan.stages[0], "cpu", torch.float32)
    weights = {f"model.{name}": value for name, value in dit.state_dict().items()}
    torch.save({"generator": weights}, folder / "model.pt")
    halves = (f(plan, "cpu", torch.float32) for f in (stage_encoder, stage_decoder))
    vae = {name: value for half in halves for name, value in half.state_dict().items()}
    torch.save(vae, folder / "Wan2.1_VAE.pth")
    save_file({"e": SeededPrompts(plan.model, 7)("")}, folder / "prompt.safetensors")
    write_umt5(folder / "umt5", plan.model.text_dim)
    return folder


def with_files(files: Path, *keys: str, **changes: object) -> Plan:
    names = {
        "dit": "model.pt",
        "vae": "Wan2.1_VAE.pth",
        "prompt_embedding": "prompt.safetensors",
        "text_encoder": "umt5",
    }
    weights = {key: str(files / names[key]) for key in keys}
    return make_plan(**SMALL, weights=weights, **changes)


MakeFrames = Callable[[Plan], tuple[np.ndarray, Records]]


@pytest.fixture
def made(clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeFrames:
    """Runs a plan: the frames as they were emitted, before any video codec, and the records."""
    frames: list[np.ndarray] = []

    def keep(spool: Path, *others: Any) -> int:
        frames.append(np.fromfile(spool, np.uint8))
        return encode_spool(spool, *others)

    monkeypatch.setattr(run_module, "encode_spool", keep)

    def make(plan: Plan) -> tuple[np.ndarray, Records]:
        records = run_pipeline(plan, clip, tmp_path / "out.mp4").records
        assert frames[-1].size == 41 * 32 * 48 * 3
        return frames[-1], records

    return make


@pytest.mark.parametrize(
    "share", [{}, {"gpus": 3}, {"gpus": 4, "parallelism": "ring", "sequence_ranks": 2}]
)
def test_files_of_the_drawn_weights_give_the_drawn_video(
    share: dict[str, Any], files: Path, made: MakeFrames
) -> None:
    """The noise is the seed's, so both runs have that seed; the weights are read or drawn."""
    plan = with_files(files, "dit", "vae", "prompt_embedding", seed=7, **share)
    given, records = made(plan)
    drawn, drawn_records = made(make_plan(**SMALL, seed=7, **share))
    assert np.array_equal(given, drawn)
    provenance = compute_metrics(records)["provenance"]
    assert provenance["weights_dit"] == "model.pt"
    assert provenance["weights_vae"] == "Wan2.1_VAE.pth"
    assert provenance["prompt"] == "embedding from prompt.safetensors"
    provenance = compute_metrics(drawn_records)["provenance"]
    assert provenance["weights_dit"] == provenance["weights_vae"] == "random, seed 7"
    assert provenance["prompt"] == "seeded embedding (no text encoder)"


def test_each_given_file_changes_the_video(files: Path, made: MakeFrames) -> None:
    drawn, _ = made(make_plan(**SMALL))
    for key in ("dit", "vae", "prompt_embedding"):
        assert not np.array_equal(made(with_files(files, key))[0], drawn), key


def test_an_encoded_prompt_steers_the_video(files: Path, made: MakeFrames) -> None:
    videos = []
    for prompt in ("a dog runs", "a cat", " a  dog runs"):
        plan = with_files(files, "text_encoder", gpus=2, conditioning={"prompt": prompt})
        frames, records = made(plan)
        videos.append(frames)
        assert records.info.provenance["prompt"] == "encoded by umt5"
    assert not np.array_equal(videos[0], videos[1])
    assert np.array_equal(videos[0], videos[2])


def test_the_encoder_runs_once_a_prompt(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    plain = TextEncoder.__call__

    def counted(self: TextEncoder, prompt: str) -> torch.Tensor:
        said.append(prompt)
        return plain(self, prompt)

    monkeypatch.setattr(TextEncoder, "__call__", counted)
    plan = with_files(files, "text_encoder")
    prompts = ["a dog", "a cat", "a dog"]
    source = prepare_prompts(plan, prompts, tmp_path / "prompts.safetensors")
    assert source is not None
    assert said == ["a dog", "a cat"]
    embeddings = [source(prompt) for prompt in prompts]
    assert torch.equal(embeddings[0], embeddings[2])
    assert not torch.equal(embeddings[0], embeddings[1])
    assert embeddings[0].shape == (plan.model.text_len, plan.model.text_dim)


def test_one_embedding_is_not_taken_for_two_prompts(files: Path, tmp_path: Path) -> None:
    plan = with_files(files, "prompt_embedding")
    with pytest.raises(UserError, match=r"is the embedding of one prompt, there are 2"):
        prepare_prompts(plan, ["a", "b"], tmp_path / "prompts.safetensors")


WRONG = {
    "dit": ("Wan2.1_VAE.pth", "weights.dit: FILE: not a checkpoint of tiny"),
    "vae": ("model.pt", "weights.vae: FILE: not a checkpoint of tiny"),
    "prompt_embedding": ("model.pt", "weights.prompt_embedding: FILE: holds not one tensor"),
    "text_encoder": ("nowhere", "weights.text_encoder: FILE: no such folder"),
}


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_file_is_refused_before_any_rank_starts(
    key: str, files: Path, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a rank was started")

    monkeypatch.setattr(run_module, "run_ranks", start)
    name, told = WRONG[key]
    plan = make_plan(**SMALL, weights={key: str(files / name)})
    with pytest.raises(UserError) as error:
        run_pipeline(plan, clip, tmp_path / "out.mp4")
    assert str(error.value).startswith(told.replace("FILE", str(files / name)))


def streamtwin(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamtwin.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


SET_SMALL = ["--set", "workload.chunks=18", "--set", "resolution=[32,48]"]


def test_the_command_takes_files_and_says_where_weights_come_from(
    files: Path, tmp_path: Path
) -> None:
    (tmp_path / "ckpts").symlink_to(files)
    given = ["weights.dit=ckpts/model.pt", "weights.text_encoder=ckpts/umt5", "deployment.gpus=2"]
    sets = [part for one in given for part in ("--set", one)]
    done = streamtwin(tmp_path, "run", "cpu-tiny", *SET_SMALL, *sets, "--json", "--out", "made")
    assert done.returncode == 0, done.stderr
    provenance = json.loads(done.stdout)["provenance"]
    assert provenance["weights_dit"] == "model.pt"
    assert provenance["weights_vae"] == "random, seed 0"
    assert provenance["prompt"] == "encoded by umt5"
    assert "random, seed 0" in (tmp_path / "made" / "report.html").read_text()


def test_the_command_refuses_a_wrong_file_in_one_line_and_writes_nothing(tmp_path: Path) -> None:
    sets = [*SET_SMALL, "--set", "weights.dit=nowhere.pt"]
    for command, which in (("run", ""), ("validate", "variant 'W=1 N=2': ")):
        done = streamtwin(tmp_path, command, "cpu-tiny", *sets, "--out", "made")
        assert done.returncode == 2
        expected = f"streamtwin: {which}weights.dit: nowhere.pt: no such file or folder\n"
        assert done.stderr == expected
    assert not (tmp_path / "made").exists()
