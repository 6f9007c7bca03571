"""Who says so? The head of a profile: its name, where and when it was measured, what was asked."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from streamtwin.calibrate.environment import Environment
from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import Provenance

META = "meta.yaml"
SCHEMA = 3
"""Version of the files of a profile; another one is refused."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What `meta.yaml` says."""

    name: str
    environment: Environment
    provenance: Provenance
    requests: tuple[dict[str, object], ...]
    """What was asked to be measured, one entry a model, VAE and resolution."""
    raw_times: int
    """Rows of the sample file, so that a file that was cut off is noticed."""
    sources_sha256: dict[str, str] = field(default_factory=dict)
    """Of each file that the fits follow from, so that one that was changed afterwards is noticed."""
    left_out: tuple[str, ...] = ()
    """What was asked and not measured, each with the reason."""

    def as_dict(self) -> dict[str, Any]:
        """The file's content; `complete` stands last, so that a torn file lacks it."""
        return {"schema": SCHEMA, **plain(asdict(self)), "complete": True}


def plain(value: Any) -> Any:  # noqa: ANN401 - any value that YAML knows
    """The value with tuples as lists: YAML has no tuples."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def read_meta(path: Path) -> Meta:
    """Read and check a profile's head.

    Raises:
        CalibrationError: missing, not YAML, of another schema, not complete, or a wrong field.
    """
    data = _mapping(path)
    if data.pop("schema", None) != SCHEMA:
        raise CalibrationError(f"{path}: schema is not {SCHEMA}: calibrate again")
    if data.pop("complete", None) is not True:
        raise CalibrationError(f"{path}: complete is not true: the profile was not finished")
    unknown = sorted(map(str, data.keys() - {one.name for one in fields(Meta)}))
    if unknown:
        raise CalibrationError(f"{path}: unknown key {unknown[0]!r}")
    try:
        meta = TypeAdapter(Meta).validate_python(data)
    except ValidationError as error:
        raise CalibrationError(f"{path}: {explain(error)}") from error
    for place, request in enumerate(meta.requests):
        if "device" not in request:
            raise CalibrationError(f"{path}: requests.{place}.device is missing")
    return meta


def _mapping(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CalibrationError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise CalibrationError(f"{path}: is not a mapping of keys")
    return data


def explain(error: ValidationError) -> str:
    """Field, value and complaint of the first thing that is wrong."""
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"])) or "content"
    return f"{field} = {str(first['input'])[:80]!r}: {first['msg']}"
