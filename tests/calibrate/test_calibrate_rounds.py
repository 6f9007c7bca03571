"""A calibration in rounds: what is done between them costs it nothing, and it goes on as it was."""

from itertools import pairwise

import pytest
from grid_cases import TINY, BrokenError, Host, on

from streamtwin.calibrate import run
from streamtwin.calibrate.profile import read_profile
from streamtwin.calibrate.run import Round, Settings, calibrate
from streamtwin.calibrate.schedule import MAX_STARTS

BUDGET_S = 60.0


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(run, "usable_cores", lambda: 2)


def calibrated(host, between, out=None, budget_s=BUDGET_S, say=lambda _: None):
    settings = Settings(between=between, say=say)
    return calibrate(TINY, out=out, budget_s=budget_s, settings=on(host, settings))


def test_what_is_done_between_rounds_does_not_count():
    def busy(_after):
        working.now_s += 1000.0

    idle, working = Host(), Host()
    alone, by_turns = calibrated(idle, lambda _: None), calibrated(working, busy)
    assert [s.part.label for s in working.starts] == [s.part.label for s in idle.starts]
    # a budget ends at an instant, which larger numbers round otherwise
    assert len(working.timed) == pytest.approx(len(idle.timed), rel=0.02)
    assert {one.case for one in by_turns.measurements} == {one.case for one in alone.measurements}
    assert working.now_s > 1000.0 * 2


@pytest.mark.parametrize("budget_s", [0.1, 6.0, BUDGET_S])
def test_every_round_has_all_parts_and_says_how_many_follow(budget_s):
    host, seen = Host(), []

    def between(after: Round):
        seen.append((len(host.starts), after.more, len(after.profile().measurements)))

    profile = calibrated(host, between, budget_s=budget_s)
    starts, more, times = zip(*seen, strict=True)
    parts = {start.part.label for start in host.starts}
    assert starts[0] == len(parts)
    assert starts[-1] == len(host.starts)
    assert len(seen) <= MAX_STARTS
    assert all(0 <= b <= a for a, b in pairwise(more))
    assert list(times) == sorted(times)
    assert times[-1] == len(profile.measurements)


def test_work_that_fails_between_rounds_loses_no_time(tmp_path):
    def broken(_after):
        raise BrokenError

    first, told, rounds = Host(), [], []
    with pytest.raises(BrokenError):
        calibrated(first, broken, tmp_path / "torn")
    again = Host()
    profile = calibrated(again, rounds.append, tmp_path / "torn", say=told.append)
    assert told[0].startswith("going on with a calibration that stopped")
    assert read_profile(tmp_path / "torn") == profile
    # the first round is over already, and is told of before the next begins
    assert {start.sweep for start in again.starts} == set(range(1, len(rounds)))
