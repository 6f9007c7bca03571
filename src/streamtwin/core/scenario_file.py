"""How does a scenario file, with its overrides, become a checked scenario?"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from streamtwin.core.errors import ScenarioError
from streamtwin.core.scenario import Scenario

_Data = dict[str, Any]


def load_scenario(path: Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read, override and check the scenario in *path*.

    Each override is `key.path=value`, its value in YAML.

    Raises:
        ScenarioError: with file, key, value and legal choices.
    """
    return parse_scenario(read_scenario_text(path), str(path), overrides)


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
    """Check the scenario in *text*; *origin* names it in errors."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(f"{origin}: not valid YAML: {error}") from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ScenarioError(f"{origin}: a scenario is a mapping of keys, not {type(data).__name__}")
    for override in overrides:
        _override(data, override)
    where = f"{origin} with --set {' '.join(overrides)}" if overrides else origin
    return check_scenario(data, where)


def check_scenario(data: _Data, origin: str) -> Scenario:
    """Check a scenario given as nested mappings."""
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise ScenarioError(f"{origin}: " + "; ".join(lines)) from error
    except ScenarioError as error:
        raise ScenarioError(f"{origin}: {error}") from error


def _override(data: _Data, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ScenarioError(f"--set {override!r}: write key=value, for example deployment.gpus=2")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(f"--set {override!r}: the value is not valid YAML: {error}") from error
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        section = data.setdefault(parent, {})
        if not isinstance(section, dict):
            raise ScenarioError(f"--set {override!r}: {parent} is a value, not a section")
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
    if error["type"] == "literal_error":
        return f"{key} = {error['input']!r}: choose one of {error['ctx']['expected']}"
    return f"{key} = {error['input']!r}: {error['msg']}"


def _known_keys(location: tuple[int | str, ...]) -> str:
    section: Any = Scenario
    for part in location[:-1]:
        section = section.model_fields[str(part)].annotation
    known = list(section.model_fields)
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known here: {', '.join(known)}"
