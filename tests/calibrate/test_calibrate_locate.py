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
    return make_profile("bench", ENVIRONMENT, [], noisy(pass_cases(), 0.0, count=3))


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


@pytest.mark.parametrize("content", [None, b"", b"{[", b"\xff\xfe"])
def test_a_broken_profile_hides_no_other(home, content):
    broken = profile_path("broken")
    broken.mkdir()
    (profile_path("a file")).touch()
    if content is not None:
        (broken / "meta.yaml").write_bytes(content)
    found = ["both", "broken", "published"] if content is not None else ["both", "published"]
    assert list_profiles() == found
    assert find_profile("both") == profile_path("both")


@pytest.mark.parametrize("where", ["user_profiles", "shipped_profiles"])
def test_profiles_that_may_not_be_read_hide_no_other(home, monkeypatch, where):
    """Permissions stop a user, though not the one that tests may run as."""

    def locked(self):
        raise PermissionError(13, "locked", str(self))

    base = getattr(locate, where)()
    readable = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda p: locked(p) if p == base else readable(p))
    looked = Path.is_file
    inner = base / "both" / "meta.yaml"
    monkeypatch.setattr(Path, "is_file", lambda p: locked(p) if p == inner else looked(p))
    assert "both" in list_profiles()
    assert find_profile("both").parent != base


def test_a_name_that_no_file_can_have_is_unknown(home):
    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(UserError, match="known: both, published"):
            find_profile(name)


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
            ("tiny", "tiny", (160, 256), "cuda:0"),
        ]
    }
    assert len(names) == 5
    assert host_profile_name("tiny", "tiny", (160, 256), "cpu") in names
    assert host_profile_name("tiny", "tiny", (160, 256)) in names
    assert all(Path(name).name == name for name in names)
