"""From which files does a real run take its weights and its text embedding?"""

from pathlib import PurePath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from streamtwin.core.errors import ScenarioError

Location = Annotated[str, Field(min_length=1, max_length=4096)]


class Weights(BaseModel):
    """Files of a real run, relative to the working directory; what is null comes from the seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dit: Annotated[
        Location | None, Field(description="checkpoint of the DiT, a file or folder; null: random")
    ] = None
    vae: Annotated[
        Location | None, Field(description="checkpoint of the VAE, a file or folder; null: random")
    ] = None
    taehv: Annotated[
        Location | None,
        Field(description="checkpoint of a TAEHV decoder, such as taew2_1.pth; null: random"),
    ] = None
    prompt_embedding: Annotated[
        Location | None,
        Field(description="embedding of the prompt, .pt, .safetensors or .npy; null: text_encoder"),
    ] = None
    text_encoder: Annotated[
        Location | None,
        Field(description="folder of a umT5 encoder and its tokenizer; null: seeded embedding"),
    ] = None

    @model_validator(mode="after")
    def _one_text(self) -> "Weights":
        if self.prompt_embedding is not None and self.text_encoder is not None:
            raise ScenarioError(
                f"weights.prompt_embedding = {self.prompt_embedding!r} and weights.text_encoder = "
                f"{self.text_encoder!r} both say what the prompt becomes: give one of them"
            )
        return self

    def origins(self, seed: int, *, taehv: bool = False) -> dict[str, str]:
        """Where each part comes from, in words; *seed* draws what no file gives.

        *taehv*: the decoder is TAEHV's, with weights of its own.
        """
        drawn = f"random, seed {seed}"
        return {
            "weights_dit": drawn if self.dit is None else _named(self.dit),
            "weights_vae": drawn if self.vae is None else _named(self.vae),
            **(
                {"weights_taehv": drawn if self.taehv is None else _named(self.taehv)}
                if taehv
                else {}
            ),
            "prompt": self._prompt_origin(),
        }

    def _prompt_origin(self) -> str:
        if self.text_encoder is not None:
            return f"encoded by {_named(self.text_encoder)}"
        if self.prompt_embedding is not None:
            return f"embedding from {_named(self.prompt_embedding)}"
        return "seeded embedding (no text encoder)"


def _named(location: str) -> str:
    """The last part of a path; the path itself where that says nothing."""
    name = PurePath(location).name
    return name if name.strip(".") else location
