"""Where do a stage's weights come from: from a checkpoint, or from the seed?"""

from pathlib import Path

import torch

from streamtwin.core.errors import UserError
from streamtwin.core.plan import Plan, Stage
from streamtwin.core.specs import ModelSpec, Resolution
from streamtwin.kernels.checkpoint import Checkpoint, open_dit, open_taehv, open_vae
from streamtwin.kernels.dit import DiTStage
from streamtwin.kernels.seeding import materialise
from streamtwin.kernels.sequence import SequenceGroup
from streamtwin.kernels.taehv import TaehvDecoder
from streamtwin.kernels.vae import VaeDecoder, VaeEncoder, build_decoder, build_encoder


def stage_dit(
    plan: Plan,
    stage: Stage,
    device: torch.device | str,
    dtype: torch.dtype,
    sequence: SequenceGroup | None = None,
) -> DiTStage:
    """The blocks of *stage*, and the ends of the model that are its; *sequence* shares its passes.

    Raises:
        UserError: the scenario's checkpoint cannot be read or does not fit the model.
    """
    checkpoint = dit_checkpoint(plan)
    ends = {"embeds": stage.first, "heads_out": stage.last}
    size = plan.scenario.size
    if checkpoint is None:
        return build_dit(
            plan.model,
            size,
            stage.blocks,
            **ends,
            seed=plan.scenario.seed,
            device=device,
            dtype=dtype,
            sequence=sequence,
        )
    with torch.device("meta"):
        dit = DiTStage(plan.model, size, stage.blocks, **ends, sequence=sequence)
    checkpoint.fill(dit, device, dtype)
    return dit


def stage_encoder(plan: Plan, device: torch.device | str, dtype: torch.dtype) -> VaeEncoder:
    """The encoder; UserError as for `stage_dit`."""
    checkpoint = vae_checkpoint(plan)
    if checkpoint is None:
        return build_encoder(plan.vae, seed=plan.scenario.seed, device=device, dtype=dtype)
    with torch.device("meta"):
        encoder = VaeEncoder(plan.vae)
    checkpoint.fill(encoder, device, dtype)
    return encoder


def stage_decoder(
    plan: Plan, device: torch.device | str, dtype: torch.dtype
) -> VaeDecoder | TaehvDecoder:
    """The decoder; UserError as for `stage_dit`."""
    small = plan.vae.decoder == "taehv"
    checkpoint = taehv_checkpoint(plan) if small else vae_checkpoint(plan)
    if checkpoint is None:
        return build_decoder(plan.vae, seed=plan.scenario.seed, device=device, dtype=dtype)
    with torch.device("meta"):
        decoder = TaehvDecoder(plan.vae) if small else VaeDecoder(plan.vae)
    checkpoint.fill(decoder, device, dtype)
    return decoder


def dit_checkpoint(plan: Plan) -> Checkpoint | None:
    """The DiT's checkpoint, checked against the model by its headers; None without one.

    Raises:
        UserError: names the scenario's key, the file, and what is wrong with it.
    """
    path = plan.scenario.weights.dit
    if path is None:
        return None
    try:
        return open_dit(Path(path).expanduser(), plan.model)
    except UserError as error:
        raise UserError(f"weights.dit: {error}") from error


def vae_checkpoint(plan: Plan) -> Checkpoint | None:
    """The VAE's checkpoint, checked against its spec by its headers; None without one.

    Raises:
        UserError: names the scenario's key, the file, and what is wrong with it.
    """
    path = plan.scenario.weights.vae
    if path is None:
        return None
    try:
        return open_vae(Path(path).expanduser(), plan.vae)
    except UserError as error:
        raise UserError(f"weights.vae: {error}") from error


def taehv_checkpoint(plan: Plan) -> Checkpoint | None:
    """The TAEHV decoder's checkpoint, checked against its spec by its headers; None without one.

    Raises:
        UserError: names the scenario's key, the file, and what is wrong with it; or the decoder
            is another one.
    """
    path = plan.scenario.weights.taehv
    if path is None:
        return None
    if plan.vae.decoder != "taehv":
        raise UserError(
            f"weights.taehv = {path!r} with vae = {plan.vae.name!r}, whose decoder is not TAEHV's: "
            "leave it null, or choose a vae with that decoder, such as taehv"
        )
    try:
        return open_taehv(Path(path).expanduser(), plan.vae)
    except UserError as error:
        raise UserError(f"weights.taehv: {error}") from error


def build_dit(
    spec: ModelSpec,
    resolution: Resolution,
    blocks: range,
    *,
    embeds: bool,
    heads_out: bool,
    seed: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    sequence: SequenceGroup | None = None,
) -> DiTStage:
    """A stage with random weights that *seed* and the parameters' global names fix.

    Raises:
        ValueError: *blocks* is no interval of the model's blocks.
    """
    with torch.device("meta"):
        stage = DiTStage(
            spec, resolution, blocks, embeds=embeds, heads_out=heads_out, sequence=sequence
        )
    materialise(stage, seed=seed, device=device, dtype=dtype)
    return stage
