"""What does a umT5 encoder make of a prompt?

The encoder runs on the host in the process that starts a run, once a prompt, and is let go then.
Only a prompt's own tokens go through it: the positions are relative and padding is masked, so its
rows are the same as in a padded batch, and what follows them is zero as in the reference.
"""

import html
import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from streamtwin.core.errors import UserError
from streamtwin.core.specs import ModelSpec
from streamtwin.kernels.checkpoint_files import read_json
from streamtwin.kernels.prompts import padded

PACKAGE = "transformers"


class TextEncoder:
    """A umT5 encoder with its tokenizer, from a local folder."""

    def __init__(self, folder: Path, spec: ModelSpec) -> None:
        """Load encoder and tokenizer from *folder*, nothing from elsewhere.

        Raises:
            UserError: as `check_encoder`, or the folder's files are damaged or incomplete.
        """
        check_encoder(folder, spec)
        library = _library()
        self.spec, self.folder = spec, folder
        model, words = _folders(folder)
        local: dict[str, Any] = {"local_files_only": True}
        library.utils.logging.disable_progress_bar()  # a run shows its own
        try:
            self.tokenizer = library.AutoTokenizer.from_pretrained(words, **local)
            encoder, told = library.UMT5EncoderModel.from_pretrained(
                model, output_loading_info=True, **local
            )
        except Exception as error:  # whatever its many file formats make the library raise
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"{folder}: cannot be loaded as umT5: {first}") from error
        missing = sorted(told["missing_keys"])
        if missing:
            raise UserError(f"{model}: lacks {len(missing)} tensors of umT5, as {missing[0]}")
        self.encoder = encoder.eval()

    @torch.inference_mode()
    def __call__(self, prompt: str) -> Tensor:
        """The embedding [text_len, text_dim] of *prompt*; it is cut after text_len tokens."""
        tokens = self.tokenizer(
            cleaned(prompt),
            max_length=self.spec.text_len,
            truncation=True,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        states = self.encoder(tokens.input_ids, attention_mask=tokens.attention_mask)
        return padded(states.last_hidden_state.float(), self.spec, str(self.folder))


def check_encoder(folder: Path, spec: ModelSpec) -> None:
    """Refuse a folder that holds no umT5 encoder of *spec*'s text width, by its small files.

    Raises:
        UserError: says what is missing or differs, or how to install what is needed.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    model, words = _folders(folder)
    for part, name in ((model, "config.json"), (words, "tokenizer_config.json")):
        if not (part / name).is_file():
            raise UserError(f"{part}: lacks {name}")
    config = read_json(model / "config.json")
    kind, width = config.get("model_type"), config.get("d_model")
    if kind != "umt5" or width != spec.text_dim:
        raise UserError(
            f"{model / 'config.json'}: model_type = {kind!r}, d_model = {width}; {spec.name} takes "
            f"a umt5 with d_model = {spec.text_dim}"
        )
    _library()


def cleaned(prompt: str) -> str:
    """*prompt* with HTML entities resolved and each run of white space made one space.

    The reference's tokenizer is asked to do the same before it cuts a prompt into tokens.
    """
    return " ".join(html.unescape(html.unescape(prompt)).split())


def _folders(folder: Path) -> tuple[Path, Path]:
    """Where encoder and tokenizer are: in one folder, or apart as in a diffusers pipeline."""
    if (folder / "text_encoder").is_dir():
        return folder / "text_encoder", folder / "tokenizer"
    if not (folder / "tokenizer_config.json").exists() and (folder.parent / "tokenizer").is_dir():
        return folder, folder.parent / "tokenizer"
    return folder, folder


def _library() -> Any:  # noqa: ANN401 - a module, loaded only where it is needed
    try:
        return importlib.import_module(PACKAGE)
    except ImportError as error:
        raise UserError(
            f"encoding text needs the package {PACKAGE}: pip install 'streamtwin[text]'"
        ) from error
