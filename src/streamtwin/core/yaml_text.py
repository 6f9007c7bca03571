"""How is YAML that a user wrote read, whatever it holds?"""

from collections.abc import Hashable
from typing import Any

import yaml

from streamtwin.core.brief import cut
from streamtwin.core.errors import ScenarioError

MAX_MERGED = 100_000
"""Keys that one text may have, those that are merged from elsewhere counted each time."""

MAX_BYTES = 2**24
"""Longest text that is read: a scenario with a thousand sessions takes a hundredth of it."""


MAX_INTEGER = 2**63
"""Whole numbers are smaller: nothing counts so far, and neither do files that keep them."""


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, refusing a key that stands twice instead of dropping one of them."""

    merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge other mappings in, as many as a person would write: each may double what is there."""
        super().flatten_mapping(node)
        self.merged += len(node.value)
        if self.merged > MAX_MERGED:
            raise yaml.YAMLError(f"more than {MAX_MERGED:,} keys are merged by '<<'")

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number, however it is written, that files and programs can keep."""
        value: int = super().construct_yaml_int(node)
        if abs(value) >= MAX_INTEGER:
            raise yaml.YAMLError(
                f"{cut(node.value, 40)} has more digits than any number that counts"
            )
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = sorted({key for key in keys if keys.count(key) > 1 and key != "<<"})
        if twice:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(
                f"key {cut(twice[0])!r} stands twice in the mapping at line {line}"
            )
        return super().construct_mapping(node, deep)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)


def parse_yaml(text: str, origin: str) -> Any:  # noqa: ANN401 - YAML holds anything
    """The value in *text*.

    Raises:
        ScenarioError: it is no YAML, or a value in it is none of its own kind; names *origin*.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - derived from the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ScenarioError(
            f"{origin}: not valid YAML{where}: {cut(str(error.problem))}"
        ) from error
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, OverflowError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ScenarioError(f"{origin}: not valid YAML: {cut(first)}") from error
    except RecursionError as error:
        raise ScenarioError(f"{origin}: not valid YAML: nested too deeply") from error
