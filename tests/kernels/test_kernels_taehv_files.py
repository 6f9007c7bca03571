"""TAEHV checkpoints: the decoder's tensors, cut to what it needs, and nothing else accepted."""

from pathlib import Path

import pytest
import torch
from checkpoint_cases import Weights
from kernel_cases import normal

from builders import make_plan
from streamtwin.core.errors import UserError
from streamtwin.core.plan import Plan
from streamtwin.kernels.taehv import TaehvDecoder, TGrow
from streamtwin.kernels.weights import stage_decoder, taehv_checkpoint

SIZE = [32, 48]


def plan_of(path: Path, vae: str = "taehv-tiny") -> Plan:
    return make_plan(resolution=SIZE, vae=vae, weights={"taehv": str(path)})


def drawn(plan: Plan) -> Weights:
    """The decoder's tensors, as no seed of ours gives them."""
    shapes = TaehvDecoder(plan.vae).state_dict()
    return {name: normal(*one.shape, seed=i) for i, (name, one) in enumerate(shapes.items())}


def published(weights: Weights, grow: int) -> Weights:
    """*weights* beside an encoder, with layers that could make *grow* times as many frames."""
    made = {f"encoder.{i}.weight": normal(4, 4, 3, 3, seed=i) for i in range(3)}
    for name, value in weights.items():
        grows = name.endswith(".conv.weight")  # of a memory block it is conv.0.weight
        other = normal((grow - 1) * len(value), *value.shape[1:], seed=77) if grows else value[:0]
        made[name] = torch.cat([other, value])
    return made


def saved(weights: Weights, path: Path) -> Path:
    torch.save(weights, path)
    return path


@pytest.mark.parametrize("grow", [1, 2, 4])
def test_a_published_checkpoint_gives_the_decoder_its_weights(grow: int, tmp_path: Path) -> None:
    """Which channels stay: those of the last frames of each layer that makes frames."""
    plan = plan_of(tmp_path / "taew2_1.pth")
    weights = drawn(plan)
    saved(published(weights, grow), tmp_path / "taew2_1.pth")
    for path in (tmp_path / "taew2_1.pth", tmp_path):
        decoder = stage_decoder(plan_of(path), "cpu", torch.float32)
        assert isinstance(decoder, TaehvDecoder)
        own = decoder.state_dict()
        assert own.keys() == weights.keys()
        assert all(torch.equal(own[name], value) for name, value in weights.items())
        assert sum(isinstance(layer, TGrow) for layer in decoder.decoder) == 3
        latents = normal(2, 16, 4, 6, seed=5)
        assert decoder.decode(latents, decoder.new_state()).shape == (3, 5, 32, 48)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    file = tmp_path / "taew2_1.pth"
    plan = plan_of(file)
    weights = drawn(plan)
    grow = next(name for name in weights if name.endswith(".conv.weight"))
    wrong = {
        f"missing: {grow}": {name: one for name, one in weights.items() if name != grow},
        "extra: decoder.99.weight": {**weights, "decoder.99.weight": torch.zeros(2)},
        # half a frame's channels more than needed
        f"wrong shape: {grow}": {**weights, grow: torch.cat([weights[grow], weights[grow][:3]])},
        "decoder.1.weight": {**weights, "decoder.1.weight": torch.zeros(64, 16, 3, 3)},
    }
    for told, tensors in wrong.items():
        saved(tensors, file)
        with pytest.raises(UserError) as error:
            stage_decoder(plan, "cpu", torch.float32)
        assert str(error.value).startswith(f"weights.taehv: {file}: not a checkpoint of taehv-tiny")
        assert told in str(error.value)


def test_a_checkpoint_for_another_decoder_is_refused(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "taew2_1.pth", vae="tiny")
    with pytest.raises(UserError, match=r"weights\.taehv = .* with vae = 'tiny', whose decoder"):
        taehv_checkpoint(plan)
