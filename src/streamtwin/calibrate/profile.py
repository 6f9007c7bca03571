"""What was measured where, and what follows from it?

A profile is a folder: `meta.yaml` (name, environment, provenance, what was asked), `samples.csv`
(one row a raw time) and `fit.json` (the fits without their points, which follow from the raw
times). Nothing here loads torch.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from math import log2
from pathlib import Path

import yaml

from streamtwin.calibrate import fit_file, samples
from streamtwin.calibrate.cases import CalibrationRequest
from streamtwin.calibrate.digests import check_digests, digests_of
from streamtwin.calibrate.environment import Environment
from streamtwin.calibrate.fit import fit_all, with_points
from streamtwin.calibrate.fitted import Fit
from streamtwin.calibrate.harness import Measurement
from streamtwin.calibrate.host_state import host_states
from streamtwin.calibrate.meta import META, Meta, plain, read_meta
from streamtwin.calibrate.model import ProfileLatency
from streamtwin.calibrate.observed import Observed, observe
from streamtwin.calibrate.plausible import check_form, check_plausible
from streamtwin.calibrate.published_rows import PublishedRow, read_rows
from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import HostState, LatencyModel, Provenance

SAMPLES = "samples.csv"
FITS = "fit.json"
FIGURES, ASSUMPTIONS = "published.csv", "assumptions.yaml"
"""What a published profile has instead of raw times."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Raw times of one device and software stack, with the fits to them."""

    name: str
    environment: Environment
    provenance: Provenance
    requests: tuple[dict[str, object], ...]
    """What was asked to be measured: model, VAE, resolution, ranks, window, sink, device, seed, T'."""
    measurements: tuple[Measurement, ...]
    fits: tuple[Fit, ...]
    figures: tuple[PublishedRow, ...] = ()
    """Figures of others that a published profile is fitted to."""
    left_out: tuple[str, ...] = ()
    """What was asked and not measured, each with the reason."""
    _hosts: dict[int, tuple[HostState, ...]] = field(
        default_factory=dict, init=False, compare=False
    )

    @property
    def ranks(self) -> tuple[int, ...]:
        """Numbers of computing ranks that were measured."""
        return tuple(sorted({fit.ranks for fit in self.fits}))

    def covers(self, request: CalibrationRequest) -> list[str]:
        """Fields of *request* in which this profile answers another question; empty: it covers it.

        More ranks than asked for do no harm, and the seed changes nothing that takes time. Of
        several requests that it was made for, the nearest one counts.
        """
        wanted = plain(asdict(request))
        ranks = set(wanted.pop("ranks"))
        wanted.pop("seed")
        differing = min(
            ([name for name, value in wanted.items() if own.get(name) != value]
             for own in self.requests),
            key=len, default=list(wanted),
        )  # fmt: skip
        return differing if ranks <= set(self.ranks) else [*differing, "ranks"]

    @property
    def device(self) -> str:
        """`cpu`, or the kind of card that was asked for."""
        return str(self.requests[0]["device"]) if self.requests else "cpu"

    def latency_model(self, ranks: int, extrapolate: bool = False) -> LatencyModel:
        """Latencies on a host where *ranks* ranks compute.

        Raises:
            CalibrationError: *ranks* was not measured, and extrapolation is not allowed.
        """
        known = self.ranks
        if ranks not in known and not extrapolate:
            raise CalibrationError(
                f"profile {self.name}: ranks = {ranks} was not measured; "
                f"{', '.join(map(str, known))} was; calibrate with it or allow extrapolation"
            )
        nearest = min(known, key=lambda other: (abs(other - ranks), -other))
        fits = tuple(fit for fit in self.fits if fit.ranks == nearest)
        if self.device != "cpu":  # each rank has a card of its own: what one does, all do
            there = {fit.family for fit in fits}
            fits += tuple(f for f in self.fits if f.ranks == 1 and f.family not in there)
        if nearest not in self._hosts:
            self._hosts[nearest] = host_states(self.measurements, nearest, self.device)
        distance, states = abs(log2(ranks / nearest)), self._hosts[nearest]
        return ProfileLatency(self.provenance, nearest, fits, extrapolate, distance, states)


def check_host(profile: Profile, environment: Environment) -> None:
    """Refuse *profile* where a real run on the host of *environment* is to be compared with it.

    Raises:
        CalibrationError: it was measured elsewhere; names every difference.
    """
    differences = profile.environment.differences(environment)
    if differences:
        raise CalibrationError(
            f"profile {profile.name} ({profile.provenance.kind}) is not of this host: "
            f"{', '.join(differences)}: "
            "calibrate here with `streamtwin calibrate`, or simulate only"
        )


def make_profile(
    name: str,
    environment: Environment,
    requests: Sequence[dict[str, object]],
    measurements: Iterable[Measurement],
    left_out: Sequence[str] = (),
) -> Profile:
    """Fit *measurements*, all taken in *environment*, and put them together."""
    taken = tuple(measurements)
    provenance = Provenance("measured", f"{name} on {environment.device}", environment.date[:10])
    asked = tuple(plain(request) for request in requests)
    fits = fit_all(taken)
    return Profile(name, environment, provenance, asked, taken, fits, left_out=tuple(left_out))


def write_profile(profile: Profile, folder: Path) -> None:
    """Write *profile* to *folder*, which is replaced if it exists; never half of it.

    The files are written beside *folder*, and moved there once they are complete and readable.

    Raises:
        CalibrationError: nobody could read the profile back; *folder* is as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        draft.chmod(0o755)
        samples.write_samples(draft / SAMPLES, profile.measurements, profile.environment.key)
        (draft / FITS).write_bytes(fit_file.dump_fits(profile.fits))
        meta = Meta(
            profile.name,
            profile.environment,
            profile.provenance,
            profile.requests,
            raw_times=sum(len(one.times) for one in profile.measurements),
            sources_sha256=digests_of(draft, (SAMPLES,)),
            left_out=profile.left_out,
        )
        (draft / META).write_text(yaml.safe_dump(meta.as_dict(), sort_keys=False), "utf-8")
        _check_readable(draft, folder)
        _replace_folder(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check_readable(draft: Path, folder: Path) -> None:
    try:
        read_profile(draft)
    except CalibrationError as error:
        raise CalibrationError(str(error).replace(str(draft), str(folder), 1)) from error


def _replace_folder(draft: Path, folder: Path) -> None:
    """Move *draft* to *folder*; an older one is out of the way first, since folders do not swap."""
    if not folder.exists():
        os.replace(draft, folder)  # noqa: PTH105 - the atomic call, by its own name
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    try:
        folder.rename(old / "profile")
        draft.rename(folder)
    finally:
        shutil.rmtree(old, ignore_errors=True)


def read_profile(folder: Path) -> Profile:
    """Read and check the profile in *folder*.

    Raises:
        CalibrationError: a file is missing, incomplete or wrong; names file, field and value.
    """
    meta = read_meta(folder / META)
    if meta.provenance.kind != "measured":
        return _unmeasured(meta, folder)
    measurements = samples.read_samples(folder / SAMPLES, meta.environment.key)
    rows = sum(len(one.times) for one in measurements)
    if rows != meta.raw_times:
        raise CalibrationError(
            f"{folder / SAMPLES}: has {rows} raw times, {META} says raw_times = {meta.raw_times}"
        )
    check_digests(folder, meta.sources_sha256, (SAMPLES,))
    fits = _join(fit_file.read_fits(folder / FITS), measurements, folder / FITS)
    return Profile(
        meta.name,
        meta.environment,
        meta.provenance,
        meta.requests,
        measurements,
        fits,
        left_out=meta.left_out,
    )


def _unmeasured(meta: Meta, folder: Path) -> Profile:
    """A profile without raw times: of published figures, or derived from another one."""
    fits = fit_file.read_fits(folder / FITS)
    if not fits:
        raise CalibrationError(f"{folder / FITS}: has no fit")
    for fit in fits:
        check_form(fit, folder / FITS)
        check_plausible(fit, folder / FITS)
    figures: tuple[PublishedRow, ...] = ()
    if meta.provenance.kind == "published":
        figures = read_rows(folder / FIGURES)
        check_digests(folder, meta.sources_sha256, (FIGURES, ASSUMPTIONS))
    return Profile(
        meta.name, meta.environment, meta.provenance, meta.requests, (), fits, figures=figures
    )


def _join(
    fits: tuple[Fit, ...], measurements: tuple[Measurement, ...], path: Path
) -> tuple[Fit, ...]:
    """The fits in *path* with their points, which follow from the raw times."""
    groups: dict[samples.Group, list[Observed]] = {}
    for one in observe(measurements):
        groups.setdefault(samples.group_of(one.case), []).append(one)
    known = [(fit.family, fit.subject, fit.ranks) for fit in fits]
    if sorted(known) != sorted(groups):
        raise CalibrationError(
            f"{path}: has fits of {sorted(known)} where {SAMPLES} has {sorted(groups)}"
        )
    for fit in fits:
        check_form(fit, path)
    joined = tuple(with_points(fit, groups[key]) for fit, key in zip(fits, known, strict=True))
    for fit in joined:
        check_plausible(fit, path)
    return joined
