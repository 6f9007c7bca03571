"""Where do the numbers of a run come from, in one line?"""

from collections.abc import Iterable, Mapping

from streamtwin.core.records import Records
from streamtwin.reports.comparison import DeploymentComparison

_PREDICTED = ("profile", "profile_date")
_MEASURED = ("host", "device", "date")


def origins(deployments: Iterable[DeploymentComparison]) -> list[str]:
    """Say from what each deployment was predicted and where it was measured; equal lines once."""
    return list(
        dict.fromkeys(
            f"Predicted from: {origin(one.predicted)}. Measured: {origin(one.measured)}."
            for one in deployments
        )
    )


def origin(records: Records) -> str:
    """Word the provenance of one run; all that it states, where it names no profile and no host."""
    stated = records.info.provenance
    if "profile" in stated:
        kind = stated.get("service_times", "unknown kind")
        extrapolated = ", extrapolated" if stated.get("extrapolated") == "true" else ""
        return f"profile {_named(stated, _PREDICTED)} ({kind}{extrapolated})"
    if any(key in stated for key in _MEASURED):
        return _named(stated, _MEASURED)
    return ", ".join(f"{key}: {value}" for key, value in sorted(stated.items())) or "not stated"


def _named(stated: Mapping[str, str], keys: Iterable[str]) -> str:
    return ", ".join(stated[key] for key in keys if stated.get(key))
