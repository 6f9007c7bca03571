"""Which percentiles does a sample of this size have?"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

LEAST: Mapping[str, int] = MappingProxyType({"p90": 10, "p95": 20, "p99": 100})
"""Samples from which on a percentile is one: below, it is the largest value under another name."""


def percentile(sample: Mapping[str, Any], name: str) -> float:
    """The percentile *name* of a *sample* with its `count`; NaN from too few values."""
    value = sample.get(name)
    if value is None or sample["count"] < LEAST.get(name, 1):
        return math.nan
    return float(value)
