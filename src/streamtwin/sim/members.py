"""What do the members of a stage that do not lead it do meanwhile?

They take part in every pass from its begin to its end, and wait for their leader's call in between,
as `streamtwin.runtime.members` records it. That they stand while the ring stands is noted already.
"""

from collections.abc import Iterable
from dataclasses import replace

from streamtwin.core.plan import Plan
from streamtwin.core.records import Records, Span


def with_members(plan: Plan, records: Records) -> Records:
    """*records* of *plan*'s leaders with what the other members do."""
    if plan.members == 1:
        return records
    spans = [*records.spans, *member_spans(plan, records.spans)]
    in_order = sorted(spans, key=lambda s: (s.began_s, s.rank, s.ended_s, s.kind))
    return replace(records, spans=tuple(in_order))


def member_spans(plan: Plan, spans: Iterable[Span]) -> list[Span]:
    """Spans of the members of *plan*, given *spans* of the leaders."""
    if plan.members == 1:
        return []
    passes: dict[int, list[Span]] = {stage.rank: [] for stage in plan.stages if not stage.vae_only}
    for span in spans:
        if span.kind in {"dit", "recovery"} and span.rank in passes:
            passes[span.rank].append(span)
    return [
        each
        for leader, led in passes.items()
        for member in range(leader + 1, leader + plan.members)
        for each in _of_member(member, led)
    ]


def _of_member(member: int, led: list[Span]) -> list[Span]:
    """Of *member*: the passes that its leader has *led*, each after a wait for its call."""
    made, until_s = list[Span](), 0.0
    for span in led:
        wait = replace(
            span, rank=member, kind="wait_hop", began_s=until_s, ended_s=span.began_s, rows=0,
            peer=span.rank,
        )  # fmt: skip
        made += [wait] if wait.seconds > 0 else []
        made += [replace(span, rank=member)] if span.kind == "dit" else []
        until_s = span.ended_s
    return made
