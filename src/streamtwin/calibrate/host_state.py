"""What is known of a host: how its pace changed, and how much of what runs differ by is its own?

A host that is in a slow hour encodes, decodes and passes slowly, on every rank. Each family on each
rank has a mean slowness in each run; the share is their covariance over pairs of families and ranks
over their variance (the intraclass correlation: Fisher 1925, Statistical Methods for Research
Workers, chapter 7).
"""

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

import numpy as np

from streamtwin.calibrate.harness import Measurement
from streamtwin.calibrate.observed import Observed, expected_s, observe, pace_while
from streamtwin.calibrate.variance import PRIOR_DEGREES
from streamtwin.core.latency import HostState
from streamtwin.core.ops import COMPUTED, Family, family_of

PRIOR_SHARE = 0.8
"""What is taken for granted before runs were compared, counting as much as their prior variance. An
assumption: on two cores of a virtual machine, in eight sets of five to eight starts, pairs of families
correlated by 0.76 in the median, in seven sets by 0.37 to 0.97, in one of calm minutes hardly."""

Line = tuple[Family, int]
"""A family on one rank."""


def host_states(
    measurements: Sequence[Measurement], ranks: int, device: str
) -> tuple[HostState, ...]:
    """The state of the host of each of *ranks* ranks that computed at once; one, if nothing is known.

    Ranks are cores of one host, whose state is that of all; but cards have a state of their own each,
    which is known from one that computed alone.
    """
    of_all = device == "cpu"
    ranks = ranks if of_all else 1
    taken = [one for one in measurements if one.case.ranks == ranks]
    if not taken:
        return (HostState(),)
    pace, common = pace_while(taken, ranks), common_share(observe(taken))
    if pace is None:
        return (HostState(None, common, of_all),)
    traces = [pace.traces[rank] for rank in sorted(pace.traces)]
    return tuple(HostState(trace, common, of_all) for trace in traces)


def common_share(observed: Sequence[Observed]) -> float:
    """The share, pooled with `PRIOR_SHARE` by degrees of freedom; 0 where runs were not compared."""
    lines = [line for line in _slowness(observed).values() if len(line) > 1]
    runs = sorted(set.intersection(*map(set, lines))) if len(lines) > 1 else []
    if len(runs) < 2:
        return 0.0
    logs = np.log([[line[run] for run in runs] for line in lines])
    apart = logs - logs.mean(axis=1, keepdims=True)
    whole = float((apart**2).mean())
    if whole <= 0:
        return 0.0
    shared = fmean(float((one * other).mean()) for one, other in combinations(apart, 2)) / whole
    degrees = len(runs) - 1
    found = degrees * min(1.0, max(0.0, shared)) + PRIOR_DEGREES * PRIOR_SHARE
    return found / (degrees + PRIOR_DEGREES)


def _slowness(observed: Sequence[Observed]) -> dict[Line, dict[int, float]]:
    """How slow each family was on each rank in each run, over its mean: the mean over its cases."""
    ratios: dict[Line, dict[int, list[float]]] = {}
    for one in observed:
        if isinstance(one.case.op, COMPUTED):
            for (run, rank), times in one.by_start.items():
                line = ratios.setdefault((family_of(one.case.op), rank), {})
                line.setdefault(run, []).append(expected_s(times) / one.typical_s)
    return {
        line: {run: fmean(own) for run, own in by_run.items()} for line, by_run in ratios.items()
    }
