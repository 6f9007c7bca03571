"""How long does one member's share of a pass take, where profiles know whole passes only?

A member has S / G tokens of every frame, so its share of a pass over N rows has as many tokens, as
many pairs of query and key and as much arithmetic as a pass over N / G whole rows. That pass is in
the calibrated range, and its time has the launches and fixed costs that a share has too. What this
does not see: a share calls attention once for each of N rows, not for N / G, and below one row the
line through passes of one and of two rows is followed down, as far as a perfect division goes at
most. What a pass costs besides its blocks is not shared: members embed all tokens, and the
leader alone ends the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import floor

from streamtwin.core.errors import CalibrationError
from streamtwin.core.latency import HostState, LatencyModel, Prediction, Provenance
from streamtwin.core.ops import Collective, DitPass, Op


@dataclass(frozen=True, slots=True)
class SharedLatency:
    """Latencies of a stage whose `bases`, one a member, share its passes; the slowest one counts.

    A DitPass stands for one member's share of it. Exchanges are those that the profile has
    measured, else what `link` says: the link that joins the members; None: nothing is known.
    `timed` is False where the members are not joined as those that were measured.
    """

    bases: tuple[LatencyModel, ...]
    link: LatencyModel | None = None
    timed: bool = True
    _known: dict[Op, Prediction] = field(init=False, default_factory=dict, compare=False)

    @property
    def members(self) -> int:
        """G: members of the stage."""
        return len(self.bases)

    @property
    def provenance(self) -> Provenance:
        """Where the model comes from."""
        return self.bases[0].provenance

    def predict(self, op: Op) -> Prediction:
        """Predict the service time of *op*; of a pass, of one member's share.

        Raises:
            CalibrationError: neither the profile nor a link answers for *op*.
        """
        if op not in self._known:
            self._known[op] = self._predict(op)
        return self._known[op]

    def noise(self, op: Op) -> Sequence[float]:
        """Relative times seen when the whole pass, or the same exchange, was repeated."""
        return self._answering(op).noise(op)

    def between(self, op: Op) -> float:
        """What runs differ by, as for the whole pass or the same exchange."""
        return self._answering(op).between(op)

    def host(self, rank: int) -> HostState:
        """That of its first member, who computes as all do."""
        return self.bases[0].host(rank)

    def _predict(self, op: Op) -> Prediction:
        if isinstance(op, DitPass):
            shares = [share_of(base, op, self.members) for base in self.bases]
            return max(shares, key=lambda share: share.mean_s)
        return self._answering(op).predict(op)

    def _answering(self, op: Op) -> LatencyModel:
        """The profile where it answers for *op*, else the link."""
        if isinstance(op, Collective) and self.link is not None and not self.timed:
            return self.link
        try:
            self.bases[0].predict(op)
        except CalibrationError as error:
            if isinstance(op, Collective) and self.link is not None:
                return self.link
            if isinstance(op, Collective):
                raise CalibrationError(
                    f"{error}; exchanges within a stage (deployment.parallelism) have no "
                    "calibrated costs there: calibrate with as many ranks"
                ) from error
            raise
        return self.bases[0]


def share_of(latency: LatencyModel, op: DitPass, members: int) -> Prediction:
    """Predicted time of one of *members* equal shares of the pass *op*.

    Its interval begins where nothing but arithmetic was and ends at the next larger pass over
    whole rows.

    Raises:
        CalibrationError: *latency* cannot answer for the whole pass, or one of a single row.
    """
    whole = latency.predict(op)
    if members == 1:
        return whole
    ends = _ends(latency, op, members)
    rows = op.rows / members
    below = latency.predict(replace(op, rows=max(1, floor(rows))))
    above = latency.predict(replace(op, rows=max(1, -(-op.rows // members))))
    mean_s = _at(latency, op, rows) + ends
    low_s = min(below.low_s * min(1.0, rows / max(1, floor(rows))), mean_s)
    high_s = max(above.high_s + ends, mean_s)
    said = replace(whole.provenance, kind="derived")
    return Prediction(mean_s, low_s, high_s, said)


def _at(latency: LatencyModel, op: DitPass, rows: float) -> float:
    """Seconds of a pass over so many *rows*, not necessarily whole ones, on the line through two."""
    low = max(1, floor(rows))
    first_s = latency.predict(replace(op, rows=low)).mean_s
    try:
        second_s = latency.predict(replace(op, rows=low + 1)).mean_s
    except CalibrationError:
        return first_s * min(1.0, rows / low)
    return max(first_s * min(1.0, rows / low), first_s + (rows - low) * (second_s - first_s))


def _ends(latency: LatencyModel, op: DitPass, members: int) -> float:
    """What a pass costs besides its blocks and a share of it would miss; 0 where nobody knows."""
    none = replace(op, blocks=0)
    try:
        return max(0.0, latency.predict(none).mean_s - _at(latency, none, op.rows / members))
    except CalibrationError:
        return 0.0
