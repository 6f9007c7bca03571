"""How do times that somebody else took become a profile?

Times come one by one, each of an operation; they are put together by operation, rank and start of
the processes. What is not known of the machine is called unknown, never guessed.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streamtwin.calibrate.cases import Case
from streamtwin.calibrate.environment import Environment
from streamtwin.calibrate.forms import FORMS, subject_of
from streamtwin.calibrate.harness import MIN_TIMES, WARMUPS, Measurement
from streamtwin.calibrate.profile import Profile, make_profile
from streamtwin.core.errors import CalibrationError, UserError
from streamtwin.core.latency import Provenance
from streamtwin.core.ops import DitPass, Op, VaeDecode, VaeEncode, family_of

UNKNOWN = "unknown"

ENOUGH_OPS = {"dit": 3, "hop": 2, "collective": 2, "migration": 2, "copy": 2}
"""Different operations below which no line goes through a family; a table needs one."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One time in seconds of one operation, on a host where `ranks` ranks computed at once."""

    op: Op
    seconds: float
    ranks: int = 1
    rank: int = 0
    run: int = 0
    tag: str = ""
    held_out: bool = False
    core_share: float = 1.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where times come from: words for it, the machine, and `cpu` or the kind of card."""

    source: str
    environment: Environment
    device: str


def collected(times: Iterable[Timed]) -> tuple[Measurement, ...]:
    """The *times* by operation, in the order in which they come; the first of each warms up.

    Raises:
        CalibrationError: an operation was timed too seldom; names it.
    """
    series: dict[tuple[Case, int, int], list[Timed]] = {}
    for one in times:
        case = Case(one.op, one.ranks, one.tag, one.held_out)
        series.setdefault((case, one.rank, one.run), []).append(one)
    for (case, _, _), own in series.items():
        if len(own) < WARMUPS + MIN_TIMES:
            raise CalibrationError(
                f"{case.op} was timed {_times(len(own))}: give at least {WARMUPS + MIN_TIMES}, of "
                f"which the first {WARMUPS} warms up and does not count"
            )
    return tuple(measured(own, WARMUPS) for own in series.values())


def measured(own: Sequence[Timed], warmups: int) -> Measurement:
    """The times of one operation on one rank in one start, the first *warmups* not to count."""
    first = own[0]
    return Measurement(
        case=Case(first.op, first.ranks, first.tag, first.held_out),
        rank=first.rank,
        times=tuple(one.seconds for one in own),
        core_shares=tuple(one.core_share for one in own),
        warmups=warmups,
        run=first.run,
    )


def check_enough(measurements: Iterable[Measurement]) -> None:
    """Refuse a family of which too few operations were timed to fit it.

    Raises:
        CalibrationError: names the family and how many operations it has.
    """
    found: dict[tuple[int, str, str], set[Op]] = {}
    for one in measurements:
        if not one.case.held_out:
            key = (one.case.ranks, family_of(one.case.op), subject_of(one.case.op))
            found.setdefault(key, set()).add(one.case.op)
    for (ranks, family, subject), ops in sorted(found.items()):
        enough = ENOUGH_OPS.get(family, 1)
        if len(ops) < enough:
            forms = ", ".join(
                name for name, form in FORMS.items() if family in form.families and not form.sums
            )
            raise CalibrationError(
                f"{family} of {subject} with {ranks} ranks: {len(ops)} different operations were "
                f"timed; a fit ({forms}) takes at least {enough}"
            )


def profile_of(
    name: str,
    origin: Origin,
    measurements: Sequence[Measurement],
    requests: Sequence[dict[str, object]] = (),
) -> Profile:
    """A profile of *measurements*, with the words of *origin* wherever its numbers are shown."""
    asked = requests or requests_of(measurements, origin.device)
    profile = make_profile(name, origin.environment, asked, measurements)
    date = origin.environment.date[:10]
    device = origin.environment.device
    source = origin.source if device == UNKNOWN else f"{origin.source} on {device}"
    return replace(profile, provenance=Provenance("measured", source, date))


def requests_of(measurements: Iterable[Measurement], device: str) -> list[dict[str, object]]:
    """What the times are of, as far as they tell it: models, VAEs, resolutions, ranks."""
    cases = [one.case for one in measurements]
    ranks = sorted({case.ranks for case in cases})
    models = sorted({case.op.model for case in cases if isinstance(case.op, DitPass)})
    videos = sorted(
        {
            (case.op.vae, case.op.height, case.op.width)
            for case in cases
            if isinstance(case.op, VaeEncode | VaeDecode)
        }
    )
    shared: dict[str, object] = {"ranks": ranks, "device": device}
    own: list[dict[str, object]] = [{"model": model} for model in models]
    own += [{"vae": vae, "resolution": [height, width]} for vae, height, width in videos]
    return [{**one, **shared} for one in own or [{}]]


def environment_from(known: dict[str, Any]) -> Environment:
    """The environment of which only *known* is known, by field; the rest is called unknown."""
    blanks: dict[object, object] = {str: UNKNOWN, int: 0, float: 0.0, bool: False}
    blank = {
        field.name: blanks.get(field.type, UNKNOWN)
        for field in fields(Environment)
        if field.default is MISSING and field.default_factory is MISSING
    }
    return Environment(**{**blank, **known})


@contextmanager
def naming(*paths: Path) -> Iterator[None]:
    """Say which files, or folders of runs, are at fault where an error does not."""
    try:
        yield
    except (CalibrationError, UserError) as error:
        if any(str(path) in str(error) for path in paths):
            raise
        raise CalibrationError(f"{', '.join(map(str, paths))}: {error}") from error


def source_of(path: Path, content: bytes) -> str:
    """Words for a file: its name, and the first digits of its SHA-256."""
    return f"{path.name} (sha256 {hashlib.sha256(content).hexdigest()[:12]})"


def date_of(path: Path) -> str:
    """When *path* was last written, UTC in ISO 8601."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
