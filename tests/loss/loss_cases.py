"""What tests of dying ranks build: deaths that cost nothing but what was under way, and costly ones."""

from typing import Any

from hypothesis import strategies as st

from builders import make_plan
from streamtwin.core.plan import Plan
from streamtwin.core.records import Records

FREE: dict[str, Any] = {
    "detect_s": 0, "start_s": 0, "load_bytes_per_s": 1e300, "restore_bytes_per_s": 1e300,
}  # fmt: skip
"""Recovery takes no time."""


STATES = st.sampled_from(["lost", "restored"])


def dying(plan_of: dict[str, Any], **death: Any) -> Plan:
    """The plan of *plan_of* in which a rank dies; it costs nothing unless *death* says so."""
    return make_plan(**plan_of, trouble={"lost_ranks": [{**FREE, "rank": 0, **death}]})


@st.composite
def shapes(draw: st.DrawFn, **fixed: Any) -> dict[str, Any]:
    """Deployments of many kinds whose queues take every chunk."""
    protocol = draw(st.sampled_from(["sdv2", "overlap"]))
    shape = {
        "protocol": protocol,
        "gpus": draw(st.integers(1, 5)),
        "steps": draw(st.integers(1, 3)),
        "stream_batch": draw(st.booleans()),
        "source_fps": draw(st.sampled_from([None, 8.0, 16.0, 60.0])),
        "sessions": draw(st.integers(1, 3)),
        "lanes": draw(st.sampled_from(["time", "sessions"])),
        "chunks": draw(st.integers(4, 24)),
        **fixed,
    }
    if shape["gpus"] >= 3 and draw(st.booleans()):
        shape["vae_placement"] = "dedicated"
    return shape


def emissions(records: Records) -> dict[tuple[int, int], float]:
    """When each chunk that came out did."""
    return {
        (one.session, one.chunk): one.emitted_s
        for one in records.chunks
        if one.emitted_s is not None
    }


def under_way(records: Records, at_s: float) -> set[tuple[int, int]]:
    """Chunks of an undisturbed run that had been taken at *at_s* and not emitted."""
    return {
        (one.session, one.chunk)
        for one in records.chunks
        if one.taken_s is not None
        and one.taken_s < at_s
        and (one.emitted_s is None or one.emitted_s >= at_s)
    }
