"""How does a scenario field accept exactly the names of a policy family?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema


@dataclass(frozen=True)
class OneOf:
    """Marks a text field whose legal values are the names of a policy family."""

    family: Mapping[str, Any]

    def __get_pydantic_core_schema__(
        self, source: type, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "enum": list(self.family)}

    def _check(self, name: str) -> str:
        if name not in self.family:
            raise PydanticCustomError("one_of", "choose one of {names}", {"names": self._names()})
        return name

    def _names(self) -> str:
        return ", ".join(self.family)
