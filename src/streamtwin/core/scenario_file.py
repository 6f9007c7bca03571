"""How does a scenario file, with its overrides, become a checked scenario?"""

import difflib
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamtwin.core.errors import ScenarioError
from streamtwin.core.scenario import Scenario
from streamtwin.core.yaml_text import parse_yaml

_Data = dict[str, Any]

MAX_TOLD = 5
"""Mistakes of one file that are named; the others are counted."""


def read_scenario_text(path: Path) -> str:
    """Read *path* as text.

    Raises:
        ScenarioError: it is missing, a folder, or not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read as a scenario: {error}") from error


def parse_scenario(text: str, origin: str, overrides: Sequence[str] = ()) -> Scenario:
    """Check the scenario in *text*; *origin* names it in errors.

    Each override is `key.path=value`, its value in YAML. Variants are checked along.

    Raises:
        ScenarioError: with origin, key, value and legal choices.
    """
    data = parse_yaml(text, origin)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ScenarioError(f"{origin}: a scenario is a mapping of keys, not {type(data).__name__}")
    for override in overrides:
        _override(data, override, origin)
    where = f"{origin} with {' '.join(overrides)}" if overrides else origin
    return check_scenario(data, where)


def check_scenario(data: _Data, origin: str) -> Scenario:
    """Check a scenario given as nested mappings."""
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        mistakes = error.errors()
        lines = [_explain(item) for item in mistakes[:MAX_TOLD]]
        if len(mistakes) > MAX_TOLD:
            lines.append(f"and {len(mistakes) - MAX_TOLD} more")
        raise ScenarioError(f"{origin}: " + "; ".join(lines)) from error
    except ScenarioError as error:
        raise ScenarioError(f"{origin}: {error}") from error


def _override(data: _Data, override: str, origin: str) -> None:
    where = f"{origin}: override {override!r}"
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ScenarioError(f"{where}: write key=value, for example deployment.gpus=2")
    value = parse_yaml(text, where)
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        section = data.setdefault(parent, {})
        if not isinstance(section, dict):
            raise ScenarioError(f"{where}: {parent} is a value, not a section")
        data = section
    data[leaf] = value
    _keep_one_length(data, leaf)


def _keep_one_length(section: _Data, leaf: str) -> None:
    """Let `--set workload.chunks=8` replace a file's duration_s, and the other way round."""
    other = {"chunks": "duration_s", "duration_s": "chunks"}.get(leaf)
    if other is not None and section[leaf] is not None:
        section.pop(other, None)


def _explain(error: ErrorDetails) -> str:
    """Say one pydantic error in our words: key, value, and what would be legal."""
    key = ".".join(str(part) for part in error["loc"]) or "scenario"
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {_known_keys(error['loc'])}"
    value = _brief().repr(error["input"])
    if error["type"] == "literal_error":
        return f"{key} = {value}: choose one of {error['ctx']['expected']}"
    if error["type"] == "invalid_key":
        return f"key {value}: keys are text"
    if error["type"] in {"model_type", "model_attributes_type"}:
        return f"{key} = {value}: a section with keys of its own belongs here"
    return f"{key} = {value}: {error['msg']}"


def _brief() -> reprlib.Repr:
    """Values as text that stays short, whatever they hold."""
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxstring, brief.maxother = 2, 80, 80
    return brief


def _known_keys(location: tuple[int | str, ...]) -> str:
    section: Any = Scenario
    for part in location[:-1]:
        section = section.model_fields[str(part)].annotation
    known = list(section.model_fields)
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known here: {', '.join(known)}"
