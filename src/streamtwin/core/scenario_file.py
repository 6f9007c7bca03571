"""How does a scenario file, with its overrides, become a checked scenario?"""

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from streamtwin.core.brief import MAX_MESSAGE, brief, cut
from streamtwin.core.errors import ScenarioError, UserError
from streamtwin.core.layout import check_layout
from streamtwin.core.places import Places
from streamtwin.core.roster import with_roster
from streamtwin.core.scenario import Scenario
from streamtwin.core.yaml_text import MAX_BYTES, parse_yaml

_Data = dict[str, Any]

MAX_TOLD = 5
"""Mistakes of one file that are named; the others are counted."""


def read_scenario_text(path: Path) -> str:
    """Read *path* as text.

    Raises:
        ScenarioError: it is missing, a folder, or not text.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ScenarioError(f"{path}: cannot be read as a scenario: it is no file")
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise ScenarioError(
                f"{path}: cannot be read as a scenario: it has more than {MAX_BYTES:,} bytes"
            )
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read as a scenario: {error}") from error


def parse_scenario(
    text: str,
    origin: str,
    overrides: Sequence[str] = (),
    about: str = "",
    folder: Path | None = None,
) -> Scenario:
    """Check the scenario in *text*, by itself and laid over its ranks.

    Each override is `key.path=value`, its value in YAML. Errors begin with *origin*, the line,
    and what *about* the text it is. Files that it names are relative to *folder*, by default that
    of *origin*.

    Raises:
        ScenarioError: with origin, line, key, value and legal choices.
    """
    data = parse_yaml(text, f"{origin}{about}")
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ScenarioError(f"{origin}: a scenario is a mapping of keys, not {type(data).__name__}")
    for override in overrides:
        _override(data, override, f"{origin}{about}")
    _forget_draws(data, overrides)
    places = Places(text, (override.partition("=")[0].strip() for override in overrides))
    given = f" with {cut(' '.join(map(cut, overrides)), MAX_MESSAGE)}" if overrides else ""

    def where(line: int | None) -> str:
        return f"{origin}{'' if line is None else f':{line}'}{about}{given}"

    beside = Path(origin).parent if folder is None else folder
    scenario = _checked(data, places, where, beside)
    try:
        check_layout(scenario)
    except UserError as error:
        raise _worded(error, places, where) from error
    return scenario


def check_scenario(data: _Data, origin: str) -> Scenario:
    """Check a scenario given as nested mappings; ScenarioError begins with *origin*."""
    return _checked(data, Places(), lambda _: origin, Path())


def _checked(
    data: _Data, places: Places, where: Callable[[int | None], str], folder: Path
) -> Scenario:
    try:
        return with_roster(Scenario.model_validate(data), folder)
    except ValidationError as error:
        mistakes = error.errors()
        lines = [places.of_key(_key(item)) for item in mistakes[:MAX_TOLD]]
        told = [_explain(item) for item in mistakes[:MAX_TOLD]]
        for index, line in enumerate(lines[1:], 1):
            told[index] = told[index] if line is None else f"line {line}: {told[index]}"
        if len(mistakes) > MAX_TOLD:
            told.append(f"and {len(mistakes) - MAX_TOLD} more")
        raise ScenarioError(f"{where(lines[0])}: " + "; ".join(told)) from error
    except ScenarioError as error:
        raise _worded(error, places, where) from error


def _worded(error: UserError, places: Places, where: Callable[[int | None], str]) -> ScenarioError:
    words = cut(str(error), MAX_MESSAGE)
    return ScenarioError(f"{where(places.of_words(words))}: {words}")


def _override(data: _Data, override: str, origin: str) -> None:
    where = f"{origin}: override {cut(override)!r}"
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ScenarioError(f"{where}: write key=value, for example deployment.gpus=2")
    value = parse_yaml(text, where)
    *parents, leaf = key.strip().split(".")
    for parent in parents:
        section = data.setdefault(parent, {})
        if not isinstance(section, dict):
            raise ScenarioError(f"{where}: {cut(parent)} is a value, not a section")
        data = section
    data[leaf] = value
    _keep_one_length(data, leaf)


def _keep_one_length(section: _Data, leaf: str) -> None:
    """Let `--set workload.chunks=8` replace a file's duration_s, and the other way round."""
    other = {"chunks": "duration_s", "duration_s": "chunks"}.get(leaf)
    if other is not None and section[leaf] is not None:
        section.pop(other, None)


def _forget_draws(data: _Data, overrides: Sequence[str]) -> None:
    """Draw sessions anew where an override may change them in a scenario that holds its draws."""
    workload = data.get("workload")
    touched = any(one.strip().startswith(("workload.", "seed")) for one in overrides)
    if touched and isinstance(workload, dict) and workload.get("arrivals"):
        drawn = workload.pop("drawn", None)
        for key in ("visits", "sessions") if drawn is not None else ():
            workload.pop(key, None)


def _explain(error: ErrorDetails) -> str:
    """Say one pydantic error in our words: key, value, and what would be legal."""
    key = cut(_key(error)) or "scenario"
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {_known_keys(error['loc'])}"
    value = brief(error["input"])
    if error["type"] == "literal_error":
        return f"{key} = {value}: choose one of {error['ctx']['expected']}"
    if error["type"] == "invalid_key":
        return f"key {value}: keys are text"
    if error["type"] in {"model_type", "model_attributes_type"}:
        return f"{key} = {value}: a section with keys of its own belongs here"
    return f"{key} = {value}: {error['msg']}"


def _key(error: ErrorDetails) -> str:
    return ".".join(str(part) for part in error["loc"])


def _known_keys(location: tuple[int | str, ...]) -> str:
    section: Any = Scenario
    for part in location[:-1]:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[str(part)].annotation
        else:  # an entry of a list or of a mapping
            section = get_args(section)[-1]
        if isinstance(section, UnionType):  # a section that may be missing
            section = get_args(section)[0]
    known = list(section.model_fields)
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known here: {', '.join(known)}"
