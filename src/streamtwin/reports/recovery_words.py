"""How is it told that a ring stood: what happened when, and what it cost?"""

from collections.abc import Mapping
from typing import Any


def recovery_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A subject and its words for every time in which a ring stood; seconds, MiB."""
    rows: list[tuple[str, str]] = []
    for one in metrics.get("recoveries") or []:
        rows += _cold(one) if one["died_s"] is None else _death(one)
    return rows


def _death(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    subject = f"rank {one['rank']} died"
    if one["resumed_s"] is None:
        return [
            (subject, f"at {one['died_s']:.2f} s, when its ring had nothing left to do: no effect")
        ]
    when = (
        f"at {one['died_s']:.2f} s, noticed {one['detected_s']:.2f}, started {one['started_s']:.2f}, "
        f"weights there {one['loaded_s']:.2f} ({_mib(one['weights_bytes'])}), "
        f"on {one['resumed_s']:.2f} s"
    )
    if one["state"] == "restored":
        cost = f"caches of {_mib(one['state_bytes'])} restored, {one['chunks_again']} chunks again"
    else:
        cost = f"state lost, {one['chunks_lost']} chunks ({one['frames_lost']} frames) lost"
    return [(subject, when), ("", f"{cost}; {_frames(one)}")]


def _cold(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    ready = f"ready at {one['resumed_s']:.2f} s, {_mib(one['weights_bytes'])} on rank {one['rank']}"
    return [("cold start", f"{ready}; {_frames(one)}")]


def _frames(one: Mapping[str, Any]) -> str:
    if one["recover_s"] is None:
        return "no frame came after it"
    first = f"next frame after {one['recover_s']:.2f} s"
    every = one["recover_all_s"]
    if every is None or every == one["recover_s"]:
        return first
    return f"{first}, everybody's after {every:.2f} s"


def _mib(size_bytes: float) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"
