"""Do the files that a scenario names fit it, and what do the ranks get of its text?

Asked in the launcher before any rank starts: by the headers of checkpoints and the small files of
a text encoder, so that a wrong path or another model's file costs no start.
"""

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from streamtwin.core.errors import UserError
from streamtwin.core.plan import Plan
from streamtwin.kernels.prompts import PromptSource, hand_over, read_embedding
from streamtwin.kernels.text_encoder import TextEncoder, check_encoder
from streamtwin.kernels.weights import dit_checkpoint, taehv_checkpoint, vae_checkpoint


def check_files(plan: Plan) -> None:
    """Refuse files of `weights` that are missing, damaged, or of another model.

    Raises:
        UserError: names the key, the file, and what is wrong with it.
    """
    dit_checkpoint(plan)
    vae_checkpoint(plan)
    taehv_checkpoint(plan)
    weights = plan.scenario.weights
    try:
        if weights.prompt_embedding is not None:
            read_embedding(_path(weights.prompt_embedding), plan.model)
        if weights.text_encoder is not None:
            check_encoder(_path(weights.text_encoder), plan.model)
    except UserError as error:
        raise UserError(f"{_text_key(plan)}: {error}") from error


def prepare_prompts(plan: Plan, prompts: Iterable[str], file: Path) -> PromptSource | None:
    """Write the embedding of each of *prompts* to *file*; None where ranks draw them themselves.

    The text encoder is in memory only while this runs, and runs once a prompt.

    Raises:
        UserError: a file is wrong, or one embedding is given for several prompts.
    """
    weights = plan.scenario.weights
    if weights.prompt_embedding is None and weights.text_encoder is None:
        return None
    try:
        return hand_over(_embeddings(plan, list(dict.fromkeys(prompts))), file)
    except UserError as error:
        raise UserError(f"{_text_key(plan)}: {error}") from error


def _embeddings(plan: Plan, prompts: list[str]) -> dict[str, Tensor]:
    weights = plan.scenario.weights
    if weights.prompt_embedding is None:
        assert weights.text_encoder is not None
        encode = TextEncoder(_path(weights.text_encoder), plan.model)
        return {prompt: encode(prompt) for prompt in prompts}
    if len(prompts) > 1:
        raise UserError(
            f"{weights.prompt_embedding}: is the embedding of one prompt, there are "
            f"{len(prompts)}; give weights.text_encoder instead"
        )
    return {prompts[0]: read_embedding(_path(weights.prompt_embedding), plan.model)}


def _text_key(plan: Plan) -> str:
    given = plan.scenario.weights.prompt_embedding is not None
    return "weights.prompt_embedding" if given else "weights.text_encoder"


def _path(location: str) -> Path:
    return Path(location).expanduser()
