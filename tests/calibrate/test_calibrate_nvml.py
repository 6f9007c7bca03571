"""What a card's management library tells, with its answers given by hand."""

import subprocess
import sys

import pynvml
import pytest
from card_data import COOL, HOT, IDLE, FakeNvml

from streamtwin.calibrate import accelerator
from streamtwin.calibrate.device_state import REASONS, SLOWING, DeviceState, reasons_of
from streamtwin.calibrate.nvml import NoNvmlError, busy_remarks, open_card

CALLS = [name for name in dir(FakeNvml) if name.lower().startswith("nvml")]


@pytest.mark.parametrize("name", CALLS)
def test_what_is_asked_of_the_library_is_there(name):
    assert hasattr(pynvml, name)
    if name.isupper():
        assert getattr(pynvml, name) == getattr(FakeNvml, name)


def test_reasons_bear_the_library_s_numbers():
    ours = {name.replace("_", ""): bit for bit, name in REASONS.items()}
    prefix = "nvmlClocksThrottleReason"
    theirs = {
        name.removeprefix(prefix).lower(): value
        for name, value in vars(pynvml).items()
        if name.startswith(prefix) and name.removeprefix(prefix).lower() in ours
    }
    assert theirs == ours


def test_a_reading_is_in_our_units():
    card = open_card("GPU-1", FakeNvml(reasons=0x24))
    assert card.read() == DeviceState(
        1980, 2619, 412.5, 51, ("sw_power_cap", "sw_thermal_slowdown")
    )
    assert open_card("GPU-1", FakeNvml()).read() == COOL
    assert card.driver() == "580.65.06"


def test_what_a_card_does_not_tell_is_none():
    missing = ["nvmlDeviceGetPowerUsage", "nvmlDeviceGetCurrentClocksThrottleReasons"]
    state = open_card("GPU-1", FakeNvml(missing=missing)).read()
    assert state == DeviceState(1980, 2619, None, 51, None)
    assert not state.throttled


@pytest.mark.parametrize(("bit", "name"), REASONS.items())
def test_heat_and_power_throttle_and_nothing_else_does(bit, name):
    state = DeviceState(1.0, 1.0, 1.0, 1.0, reasons_of(bit))
    assert state.reasons == (name,)
    assert state.throttled == (name in SLOWING)
    slowing = {0x4, 0x8, 0x20, 0x40, 0x80}
    assert state.throttled == (bit in slowing)


def test_a_reason_of_tomorrow_is_kept_without_a_name():
    assert reasons_of(0x1 | 0x8000) == ("gpu_idle", "other")


@pytest.mark.parametrize(("uuid", "broken"), [("GPU-2", False), ("GPU-1", True)])
def test_no_driver_and_no_such_card_are_reasons_in_words(uuid, broken):
    with pytest.raises(NoNvmlError, match=r"NVML: (Not Found|Driver Not Loaded)"):
        open_card(uuid, FakeNvml(broken=broken))


def test_the_real_library_without_such_a_card_is_a_reason_too():
    with pytest.raises(NoNvmlError, match="NVML"):
        open_card("GPU-00000000-0000-0000-0000-000000000000")


def test_a_library_that_is_not_installed_is_a_reason_too():
    code = (
        "import sys; sys.modules['pynvml'] = None\n"
        "from streamtwin.calibrate.nvml import NoNvmlError, open_card\n"
        "try: open_card('GPU-1')\n"
        "except NoNvmlError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("nvidia-ml-py is not installed"), done.stderr


def test_another_process_on_the_card_is_named_with_its_memory():
    card = open_card("GPU-1", FakeNvml(processes=[(7, 2**30), (8, None), (9, 1)], busy=99))
    (words,) = busy_remarks(card, {9})
    assert "another process uses the card" in words
    assert "/bin/job-7 (pid 7, 1024 MiB); /bin/job-8 (pid 8)" in words
    assert "job-9" not in words


def test_a_process_without_a_name_is_told_by_its_number():
    card = open_card(
        "GPU-1", FakeNvml(processes=[(7, 2**20)], missing=["nvmlSystemGetProcessName"])
    )
    assert "a process (pid 7, 1 MiB)" in busy_remarks(card, set())[0]


@pytest.mark.parametrize(("busy", "said"), [(0, 0), (4, 0), (5, 1), (100, 1)])
def test_a_card_that_is_busy_before_the_start_is_told(busy, said):
    remarks = busy_remarks(open_card("GPU-1", FakeNvml(busy=busy)), set())
    assert len(remarks) == said
    assert all(f"{busy} % busy" in words for words in remarks)


def test_a_quiet_card_needs_no_remark_even_where_it_tells_nothing():
    missing = ["nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetUtilizationRates"]
    assert busy_remarks(open_card("GPU-1", FakeNvml(missing=missing)), set()) == []


def test_missing_nvml_is_a_remark_and_leaves_times_without_states(monkeypatch):
    def fail(_device):
        raise NoNvmlError("NVML: Driver Not Loaded")

    monkeypatch.setattr(accelerator, "card_of", fail)
    (words,) = accelerator.card_remarks("cuda")
    assert "are not recorded: NVML: Driver Not Loaded" in words
    assert accelerator.gauge_of("cuda") is None


def test_a_cpu_has_no_gauge_no_events_and_nothing_to_remark():
    assert accelerator.gauge_of("cpu") is accelerator.timer_of("cpu") is None
    assert accelerator.card_remarks("cpu") == []
    assert accelerator.l2_bytes("cpu") == accelerator.card_count("cpu") == 0


def test_states_of_the_data_are_what_they_are_called():
    assert (COOL.throttled, IDLE.throttled, HOT.throttled) == (False, False, True)
