"""A card's state beside its times: read behind each, kept, and heeded."""

import csv
from dataclasses import replace

import pytest
from calibration_data import ENVIRONMENT, all_cases, noisy
from card_data import COOL, HOT, IDLE, Script
from test_calibrate_harness import STEADY, Replay

from streamtwin.calibrate.device_state import DeviceState
from streamtwin.calibrate.fit import fit_all
from streamtwin.calibrate.harness import ENOUGH_TIMES, MIN_TIMES, WARMUPS, Measurement, measure
from streamtwin.calibrate.observed import observe
from streamtwin.calibrate.samples import COLUMNS, read_samples, write_samples
from streamtwin.core.errors import CalibrationError


class Logged(Replay):
    def time_s(self, case, clock):
        self.log.append("time")
        return super().time_s(case, clock)


def run(gauge, script=(1.0,), budget_s=1e3):
    replay = Logged({STEADY: list(script)})
    replay.log = gauge.log
    (one,) = measure([STEADY], replay, replay.clock, budget_s, gauge=gauge)
    return one


def test_the_gauge_is_read_once_behind_each_time():
    gauge = Script(COOL, IDLE)
    one = run(gauge)
    assert gauge.log == ["time", "gauge"] * len(one.times)
    assert one.states == tuple((COOL, IDLE)[i % 2] for i in range(len(one.times)))


def test_without_a_gauge_there_are_no_states():
    replay = Replay({STEADY: [1.0]})
    (one,) = measure([STEADY], replay, replay.clock, 1e3)
    assert one.states == one.slowed == ()
    assert not one.throttled


def test_reading_the_gauge_is_no_part_of_a_time_and_none_of_its_share_of_the_core():
    replay = Replay({STEADY: [1.0]})

    class Slow(Script):
        def read(self):
            replay.now_s += 5.0
            return super().read()

    (one,) = measure(
        [STEADY], replay, replay.clock, 1e3, gauge=Slow(COOL), core_clock=replay.core_clock
    )
    assert set(one.times) == {1.0}
    assert set(one.core_shares) == {1.0}


@pytest.mark.parametrize(("hot", "of", "marked"), [(0, 20, False), (2, 20, False), (3, 20, True)])
def test_a_case_is_throttled_when_more_than_a_tenth_of_its_steady_times_are(hot, of, marked):
    states = (HOT,) * WARMUPS + (HOT,) * hot + (COOL,) * (of - hot)
    one = Measurement(STEADY, 0, (1.0,) * len(states), (1.0,) * len(states), states=states)
    assert one.throttled == observe([one])[0].throttled == marked


def test_idling_and_set_clocks_do_not_throttle():
    states = (DeviceState(1.0, 1.0, 1.0, 1.0, ("gpu_idle", "applications_clocks_setting")),) * 9
    assert not Measurement(STEADY, 0, (1.0,) * 9, (1.0,) * 9, states=states).throttled


def test_times_at_full_clocks_are_preferred():
    states = (COOL, *(HOT, COOL) * 3)
    times = (9.0, *(2.0, 1.0) * 3)
    one = Measurement(STEADY, 0, times, (1.0,) * 7, states=states)
    assert one.clean == (1.0,) * 3
    assert one.steady == times[1:]
    assert one.throttled


def test_throttled_times_count_where_there_are_too_few_others():
    states = (COOL, HOT, COOL, HOT, COOL)
    one = Measurement(STEADY, 0, (9.0, 2.0, 1.0, 2.0, 1.0), (1.0,) * 5, states=states)
    assert one.clean == (2.0, 1.0, 2.0, 1.0)


def test_among_times_at_full_clocks_the_undisturbed_are_preferred():
    states = (COOL, COOL, COOL, COOL, COOL, HOT)
    one = Measurement(
        STEADY, 0, (9.0, 1.0, 1.0, 1.0, 5.0, 7.0), (1, 1, 1, 1, 0.2, 1), states=states
    )
    assert one.clean == (1.0,) * MIN_TIMES


def test_a_case_goes_on_until_enough_times_are_at_full_clocks():
    one = run(Script(HOT, COOL), script=(1.0,))
    assert sum(not slow for slow in one.slowed) == ENOUGH_TIMES
    assert len(one.times) > WARMUPS + ENOUGH_TIMES


def test_ranks_with_and_without_states_are_pooled():
    hot = Measurement(STEADY, 0, (9.0, 2.0, 2.0), (1.0,) * 3, states=(HOT,) * 3)
    dark = Measurement(STEADY, 1, (9.0, 1.0, 1.0, 1.0), (1.0,) * 4)
    (both,) = observe([hot, dark])
    assert both.clean == (1.0,) * 3
    assert both.throttled


def test_points_of_a_fit_are_marked():
    measured = [
        replace(one, states=((HOT if i == 0 else COOL),) * len(one.times))
        for i, one in enumerate(noisy(all_cases(1), 0.01))
    ]
    points = [point for fit in fit_all(measured) for point in fit.points]
    assert [p.op for p in points if p.throttled] == [measured[0].case.op]


PARTLY = DeviceState(1980.0, None, None, 51.0, None)


@pytest.mark.parametrize("states", [(COOL, HOT, IDLE, PARTLY), ()])
def test_states_come_back_from_the_file_as_they_were(tmp_path, states):
    one = Measurement(STEADY, 0, (2.0, 1.0, 1.0, 1.0), (1.0,) * 4, states=states)
    write_samples(tmp_path / "s.csv", [one], ENVIRONMENT.key)
    assert read_samples(tmp_path / "s.csv", ENVIRONMENT.key) == (one,)
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(bool(row["throttle_reasons"]) == bool(states) for row in rows)


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("sm_clock_mhz", "nan", "finite"),
        ("memory_clock_mhz", "-1", "at least 0"),
        ("power_w", "inf", "finite"),
        ("temperature_c", "warm", "not a number"),
        ("throttle_reasons", "heat", "sw_power_cap"),
        ("throttle_reasons", "sw_power_cap+", "join some of"),
        ("throttle_reasons", "", "missing beside sm_clock_mhz"),
    ],
)
def test_a_wrong_state_is_named(tmp_path, column, value, complaint):
    path = tmp_path / "s.csv"
    one = Measurement(STEADY, 0, (2.0, 1.0, 1.0, 1.0), (1.0,) * 4, states=(COOL,) * 4)
    write_samples(path, [one], ENVIRONMENT.key)
    rows = list(csv.reader(path.read_text().splitlines()))
    rows[2][COLUMNS.index(column)] = value
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    with pytest.raises(CalibrationError, match=complaint) as caught:
        read_samples(path, ENVIRONMENT.key)
    assert f"s.csv, line 3: {column} = {value!r}" in str(caught.value)


def test_a_state_that_is_missing_between_others_is_named(tmp_path):
    path = tmp_path / "s.csv"
    one = Measurement(STEADY, 0, (2.0, 1.0, 1.0, 1.0), (1.0,) * 4, states=(COOL,) * 4)
    write_samples(path, [one], ENVIRONMENT.key)
    rows = list(csv.reader(path.read_text().splitlines()))
    for column in ("sm_clock_mhz", "memory_clock_mhz", "power_w", "temperature_c"):
        rows[3][COLUMNS.index(column)] = ""
    rows[3][COLUMNS.index("throttle_reasons")] = ""
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    with pytest.raises(CalibrationError, match="line 4: throttle_reasons = '': all times"):
        read_samples(path, ENVIRONMENT.key)
