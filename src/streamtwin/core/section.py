"""What do all sections of a scenario share: how strict they are, which numbers they take?"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MAX_RANKS = 64
"""Most ranks of one deployment. What the header of an item has room for."""

MAX_REPLICAS = 1000
"""Most copies of a pipeline: as many as there can be sessions."""

MAX_CHUNKS = 1_000_000
"""Longest input that is taken: days of video, more than any record of it is good for."""

MAX_SESSIONS = 1000
"""Most sessions of one scenario."""

MAX_REPLICATIONS = 1000
"""Most replications of one scenario."""

MAX_SECONDS = 1e6
"""Longest time that a scenario may name: eleven days."""

Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
FrameRate = Annotated[float, Field(ge=0.1, le=100_000)]
Rate = Annotated[float, Field(ge=0, le=1)]


def _strict_numbers(schema: Any) -> Any:  # noqa: ANN401 - nested schemas, and what is between them
    """*schema* with every number in it, however deep, behind `_no_boolean`.

    Strict numbers of pydantic's own were rejected: records are JSON, whose keys are all text.
    """
    if isinstance(schema, list | tuple):
        return type(schema)(_strict_numbers(one) for one in schema)
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in {"int", "float"}:
        return core_schema.no_info_before_validator_function(_no_boolean, schema)
    if schema.get("function") == {"type": "no-info", "function": _no_boolean}:
        return schema  # of a section within this one
    return {key: _strict_numbers(one) for key, one in schema.items()}


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("boolean", "Input should be a number, not a boolean")
    return value


class Section(BaseModel):
    """A part of a scenario: values that stay as they are, and no key that nobody knows.

    A number is no boolean, although Python counts one as 0 or 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """What pydantic checks, and that no number is a boolean."""
        schema: CoreSchema = _strict_numbers(handler(source))
        return schema
