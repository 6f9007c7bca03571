"""What does a profile take for granted, because no figure tells? Each with an interval and a reason."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from streamtwin.calibrate.meta import explain
from streamtwin.core.errors import CalibrationError

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Assumption:
    """A value, where it surely lies (90 %), and why it is taken."""

    value: Positive
    low: Positive
    high: Positive
    reason: str

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(
                f"give low <= value <= high, not {self.low}, {self.value}, {self.high}"
            )


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What published figures of one device leave open.

    `encode_share` of encoding in both halves of the VAE, where only their sum is published;
    `receive_s` and `receive_byte_s`, what a blocking receive takes besides the link, as a whole and
    for each byte; `pass_s`, the fixed cost of a pass, where figures do not tell it from the blocks'; `first_encode` and `first_decode`,
    a stream's first chunk against a later one.
    """

    gpu: str
    vae: str
    device: str
    date: str
    source: str
    encode_share: Assumption
    receive_s: Assumption
    first_encode: Assumption
    first_decode: Assumption
    receive_byte_s: Assumption | None = None
    pass_s: Assumption | None = None


def read_assumptions(path: Path) -> Assumptions:
    """Read and check assumptions.

    Raises:
        CalibrationError: names file, field and value.
    """
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise CalibrationError(f"{path}: cannot be read: {error}") from error
    try:
        return TypeAdapter(Assumptions).validate_python(data)
    except ValidationError as error:
        raise CalibrationError(f"{path}: {explain(error)}") from error
