"""Invented traces, as a card's profiler writes them, whose times are known."""

import gzip
import json
from pathlib import Path
from typing import Any

from streamtwin.calibrate.ranges import name_of
from streamtwin.core.ops import DitPass, Hop, Op, VaeDecode, VaeEncode

CARD = "NVIDIA H100 80GB HBM3"
LAUNCH_US = 7.0
"""From the launch of a kernel to its start."""
BASE_NS = 1767322800 * 10**9
"""2026-01-02T03:00:00 UTC."""


def pass_of(blocks: int = 8, rows: int = 1, kv_tokens: float = 9360) -> DitPass:
    return DitPass("wan2.1-1.3b", blocks, rows, 1, 1560, kv_tokens, True, False)


OPS: list[tuple[Op, float]] = [
    (pass_of(blocks, rows), 700.0 + 60.0 * blocks + 480.0 * blocks * rows)
    for blocks in (8, 15, 30)
    for rows in (1, 2, 4)
] + [
    (VaeEncode("wan2.1", 480, 832, 1, False), 30_000.0),
    (VaeDecode("wan2.1", 480, 832, 1, False), 50_000.0),
    (Hop(20_000_000), 130.0),
    (Hop(5_000_000), 55.0),
]
"""Operations with their times in microseconds on the device."""


def cuda_events(ops: list[tuple[Op, float]] = OPS, times: int = 5) -> list[dict[str, Any]]:
    """Two kernels a range, with a gap between; the host leaves the range before the device ends."""
    events: list[dict[str, Any]] = []
    now_us, correlation = 1000.0, 1
    for repetition in range(times):
        for op, lasts_us in ops:
            on_device_us = lasts_us * (1 + 0.01 * repetition)
            events.append(event("user_annotation", name_of(op), now_us, 20.0))
            for begins, share in ((0.0, 0.5), (0.6, 0.4)):
                launch_us = now_us + 2.0 + 10.0 * begins
                starts = now_us + LAUNCH_US + begins * on_device_us
                link = {"correlation": correlation}
                events.append(event("cuda_runtime", "cudaLaunchKernel", launch_us, 1.0, link))
                work = {**link, "device": 0, "stream": 7}
                events.append(event("kernel", "gemm", starts, share * on_device_us, work, pid=0))
                correlation += 1
            now_us += on_device_us + 40.0
    return events


def event(
    category: str, name: str, ts: float, dur: float, args: Any = None, pid: int = 4711
) -> dict[str, Any]:
    return {
        "ph": "X", "cat": category, "name": name, "pid": pid, "tid": 7 if pid == 0 else pid,
        "ts": ts, "dur": dur, "args": args or {},
    }  # fmt: skip


def host_events(ops: list[tuple[Op, float]] = OPS, times: int = 5) -> list[dict[str, Any]]:
    """Ranges alone, as a CPU's profiler writes them."""
    events, now_us = [], 0.0
    for _ in range(times):
        for op, lasts_us in ops:
            events.append(event("user_annotation", name_of(op), now_us, lasts_us))
            now_us += lasts_us + 1.0
    return events


def write_trace(path: Path, events: list[dict[str, Any]], **about: Any) -> Path:
    properties = [{"id": one, "name": CARD} for one in range(8)]
    data = {
        "schemaVersion": 1, "deviceProperties": properties, "cuda_runtime_version": 12080,
        "baseTimeNanoseconds": BASE_NS, "host_name": "node-7", "traceEvents": events, **about,
    }  # fmt: skip
    text = json.dumps(data).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path
