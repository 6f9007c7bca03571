"""Arithmetic of half-open intervals of time: clip, subtract, and add up."""

from collections.abc import Iterable
from itertools import pairwise

Interval = tuple[float, float]


def clip(interval: Interval, window: Interval) -> Interval:
    """The part of *interval* inside *window*; empty parts have zero length."""
    began = min(max(interval[0], window[0]), window[1])
    return began, max(began, min(interval[1], window[1]))


def overlap_s(intervals: Iterable[Interval], window: Interval) -> float:
    """Total length of the disjoint *intervals* inside *window*."""
    clipped = (clip(interval, window) for interval in intervals)
    return sum(ended - began for began, ended in clipped)


def union_s(intervals: Iterable[Interval]) -> float:
    """Total length of what the *intervals* cover, counting what several cover once."""
    total_s, until = 0.0, float("-inf")
    for began, ended in sorted(intervals):
        total_s += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total_s


def gaps(busy: list[Interval], window: Interval) -> list[Interval]:
    """The parts of *window* that the intervals *busy*, sorted by begin, leave free."""
    free: list[Interval] = []
    at = window[0]
    for began, ended in busy:
        if began > at:
            free.append((at, min(began, window[1])))
        at = max(at, ended)
        if at >= window[1]:
            return free
    if at < window[1]:
        free.append((at, window[1]))
    return free


def cut(interval: Interval, at: Iterable[float]) -> list[Interval]:
    """Split *interval* at the instants *at* that lie strictly inside it."""
    inside = sorted({instant for instant in at if interval[0] < instant < interval[1]})
    edges = [interval[0], *inside, interval[1]]
    return list(pairwise(edges))
