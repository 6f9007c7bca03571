"""Which profile a name stands for."""

from dataclasses import replace
from pathlib import Path

import pytest
from calibration_data import ENVIRONMENT, noisy, pass_cases

from streamtwin.calibrate import locate
from streamtwin.calibrate.locate import find_profile, host_profile_name, list_profiles, profile_path
from streamtwin.calibrate.profile import make_profile, write_profile
from streamtwin.core.errors import UserError


@pytest.fixture(scope="module")
def profile():
    return make_profile("bench", ENVIRONMENT, {}, noisy(pass_cases(), 0.0, count=3))


@pytest.fixture
def home(tmp_path, monkeypatch, profile):
    monkeypatch.setenv(locate.HOME, str(tmp_path / "home"))
    monkeypatch.setattr(locate, "shipped_profiles", lambda: tmp_path / "shipped")
    for base in ("home/profiles", "shipped"):
        write_profile(replace(profile, name=base), tmp_path / base / "both")
    write_profile(profile, tmp_path / "shipped" / "published")
    return tmp_path


def test_the_users_profile_comes_before_the_shipped_one(home):
    assert find_profile("both") == home / "home" / "profiles" / "both" == profile_path("both")
    assert find_profile("published") == home / "shipped" / "published"
    assert list_profiles() == ["both", "published"]


def test_a_folder_is_a_profile_by_its_path(home):
    folder = home / "shipped" / "published"
    assert find_profile(str(folder)) == folder


def test_an_unknown_name_lists_the_known_ones(home):
    with pytest.raises(UserError, match=r"'none'; known: both, published"):
        find_profile("none")


def test_no_profiles_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv(locate.HOME, str(tmp_path / "nowhere"))
    monkeypatch.setattr(locate, "shipped_profiles", lambda: tmp_path / "none")
    assert list_profiles() == []


def test_the_hosts_name_follows_from_what_is_measured():
    names = {
        host_profile_name(*what)
        for what in [
            ("tiny", "tiny", (160, 256)),
            ("tiny", "tiny", (160, 240)),
            ("tiny", "wan2.1", (160, 256)),
            ("wan2.1-1.3b", "tiny", (160, 256)),
        ]
    }
    assert len(names) == 4
    assert host_profile_name("tiny", "tiny", (160, 256)) in names
    assert all(Path(name).name == name for name in names)
