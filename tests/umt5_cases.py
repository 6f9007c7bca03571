"""A small random umT5 with a tokenizer of its own, written to a folder as published ones are."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ("<pad>", "</s>", "<unk>", "a", "dog", "cat", "runs", "through", "snow", "&")


def write_umt5(folder: Path, width: int, tokenizer: Path | None = None, **changes: Any) -> Path:
    """Write encoder and tokenizer to *folder*, the tokenizer elsewhere if asked."""
    from transformers import (  # noqa: PLC0415 - slow to import
        PreTrainedTokenizerFast,
        UMT5Config,
        UMT5EncoderModel,
    )

    sizes = {"d_model": width, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    config = UMT5Config(vocab_size=len(WORDS), **sizes | changes)
    generator = torch.Generator().manual_seed(4)
    model = UMT5EncoderModel(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    model.save_pretrained(folder)
    _tokenizer(PreTrainedTokenizerFast).save_pretrained(tokenizer or folder)
    return folder


def _tokenizer(kind: Any) -> Any:
    """Words to numbers, the end of the text marked as umT5's own tokenizer marks it."""
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return kind(tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
