"""Where do the numbers of a run come from, in one line?"""

from collections.abc import Iterable, Mapping

from streamtwin.core.records import Records
from streamtwin.core.run_info import ENVIRONMENT
from streamtwin.reports.comparison import DeploymentComparison

_PREDICTED = ("profile", "profile_date")
_MEASURED = ("host", "device", "date")


def statements(records: Records) -> list[tuple[str, str]]:
    """What a run states of its numbers, by name; the environment has its own place on a page."""
    return sorted(entry for entry in records.info.provenance.items() if entry[0] != ENVIRONMENT)


def origins(deployments: Iterable[DeploymentComparison]) -> list[str]:
    """Say from what each deployment was predicted and where it was measured; equal lines once."""
    return list(
        dict.fromkeys(
            f"Predicted from: {origin(one.predicted)}. Measured: {origin(one.measured)}."
            for one in deployments
        )
    )


def came_from(records: Records) -> str:
    """One run's provenance in a sentence, and where a prediction's scatter comes from."""
    if records.info.source == "measured":
        return f"Measured: {origin(records)}."
    noise = records.info.provenance.get("noise")
    scatter = f" Scatter of service times: {noise}." if noise else ""
    return f"Predicted from: {origin(records)}.{scatter}"


def origin(records: Records) -> str:
    """Word the provenance of one run; all that it states, where it names no profile and no host."""
    known = records.info.provenance
    if "profile" in known:
        kind = known.get("service_times", "unknown kind")
        extrapolated = ", extrapolated" if known.get("extrapolated") == "true" else ""
        return f"profile {_named(known, _PREDICTED)} ({kind}{extrapolated})"
    if any(key in known for key in _MEASURED):
        return _named(known, _MEASURED)
    return ", ".join(f"{key}: {value}" for key, value in statements(records)) or "not stated"


def _named(known: Mapping[str, str], keys: Iterable[str]) -> str:
    return ", ".join(known[key] for key in keys if known.get(key))
