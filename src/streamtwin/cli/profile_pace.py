"""How did the pace of a profile's host change, as its page shows it?"""

from typing import TYPE_CHECKING

from streamtwin.reports.pace_view import PaceView

if TYPE_CHECKING:
    from streamtwin.calibrate.profile import Profile


def paces_of(profile: "Profile") -> tuple[PaceView, ...]:
    """The pace at each number of computing ranks at which it changed but by chance."""
    from streamtwin.calibrate.observed import pace_while  # noqa: PLC0415

    found = {ranks: pace_while(profile.measurements, ranks) for ranks in profile.ranks}
    return tuple(
        PaceView(ranks, pace.step_s, tuple(pace.traces[rank].factors for rank in pace.traces))
        for ranks, pace in found.items()
        if pace is not None
    )
