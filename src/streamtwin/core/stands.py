"""When did the ring of a session stand, because a rank had died or weights were still to be loaded?"""

from streamtwin.core.intervals import Interval
from streamtwin.core.moved import ranks_of_a_copy
from streamtwin.core.records import Records
from streamtwin.core.recovery import FAMILY, PROVENANCE


def stands(records: Records, session: int) -> list[Interval]:
    """Each such time, in order of its begin; seconds since the start of the stream."""
    if PROVENANCE not in records.info.provenance:
        return []
    routed = (d for d in records.decisions if d.family == "router" and d.session == session)
    width = ranks_of_a_copy(records)
    copy = next((int(one.chose) for one in routed), 0)
    events = [d for d in records.decisions if d.family == FAMILY and d.rank // width == copy]
    died_s = [one.time_s for one in events if one.chose == "died"]
    resumed_s = [one.time_s for one in events if one.chose == "resumed"]
    # a cold start has no death: it is there from the start
    begins_s = [0.0] * (len(resumed_s) - len(died_s)) + died_s
    return list(zip(begins_s, resumed_s, strict=True))
