"""Was a profile measured here, and does it answer the question?"""

from dataclasses import asdict, replace

import pytest
from calibration_data import ENVIRONMENT, REQUEST, all_cases, noisy

from streamtwin.calibrate import environment
from streamtwin.calibrate.environment import MUST_AGREE, read_environment
from streamtwin.calibrate.meta import plain
from streamtwin.calibrate.profile import check_host, make_profile, read_profile, write_profile
from streamtwin.core.errors import CalibrationError


@pytest.fixture(scope="module")
def profile():
    measured = noisy(all_cases(1) + all_cases(2), 0.02, count=4)
    return make_profile("bench", ENVIRONMENT, [{"model": "tiny", "device": "cpu"}], measured)


@pytest.fixture(scope="module")
def covering(profile):
    return replace(profile, requests=(plain(asdict(REQUEST)),))


@pytest.mark.parametrize("name", MUST_AGREE)
def test_every_field_that_must_agree_changes_the_key(name):
    other = replace(ENVIRONMENT, **{name: 99 if name == "cores" else "other"})
    assert other.key != ENVIRONMENT.key
    assert len(ENVIRONMENT.differences(other)) == 1
    assert name in ENVIRONMENT.differences(other)[0]


def test_a_profile_of_this_host_may_be_compared_with_real_runs(profile):
    check_host(profile, replace(ENVIRONMENT, date="2027-01-01", governor="powersave"))


def test_a_profile_of_another_host_is_refused_with_every_difference(profile):
    here = replace(ENVIRONMENT, host="other", torch="2.12.0")
    with pytest.raises(CalibrationError) as caught:
        check_host(profile, here)
    assert str(caught.value) == (
        "profile bench (measured) is not of this host: host = 'bench' (here 'other'), "
        "torch = '2.11.0' (here '2.12.0'): "
        "calibrate here with `streamtwin calibrate`, or simulate only"
    )


OTHER_QUESTIONS = {
    "model": "wan2.1-1.3b",
    "vae": "wan2.1",
    "resolution": (160, 240),
    "window": 7,
    "sink": 2,
    "chunk_latents": 2,
    "ranks": (1, 3),
}


@pytest.mark.parametrize("name", OTHER_QUESTIONS)
def test_another_question_is_not_covered(covering, name):
    assert covering.covers(replace(REQUEST, **{name: OTHER_QUESTIONS[name]})) == [name]


def test_another_device_is_not_covered(covering):
    assert covering.covers(replace(REQUEST, device="cuda", ranks=(1,))) == ["device"]


def test_the_same_question_is_covered_also_with_fewer_ranks(covering, tmp_path):
    write_profile(covering, tmp_path / "p")
    for known in (covering, read_profile(tmp_path / "p")):
        assert known.covers(REQUEST) == []
        assert known.covers(replace(REQUEST, ranks=(2,), seed=9)) == []


def test_a_profile_that_does_not_say_what_was_asked_covers_nothing(profile):
    assert "chunk_latents" in profile.covers(REQUEST)


def test_the_date_does_not_make_another_environment():
    assert replace(ENVIRONMENT, date="2027-01-01").key == ENVIRONMENT.key


CARD = {
    "driver": "580.1",
    "cuda": "12.8",
    "cudnn": "91002",
    "flash_attn": "3.0",
    "attention": "fa3",
}


def test_a_card_s_software_is_part_of_the_environment(monkeypatch):
    monkeypatch.setattr(environment, "_card_software", lambda: CARD)
    card, cpu = read_environment("NVIDIA H100"), read_environment()
    assert {name: getattr(card, name) for name in CARD} == CARD
    assert {getattr(cpu, name) for name in CARD} == {"none"}
    assert {words.split(" = ")[0] for words in card.differences(cpu)} == {"device", *CARD}


def test_this_host_can_be_described():
    here = read_environment()
    assert here.cores >= 1
    assert here.key == read_environment().key
    assert all(str(value) for value in here.as_dict().values())
