"""The report of profiles that nobody measured: answers, figures and assumptions instead of cases."""

import re
from io import StringIO

import pytest
from rich.console import Console

from streamtwin.calibrate.locate import shipped_profiles
from streamtwin.calibrate.profile import read_profile
from streamtwin.cli.profile_view import view_of
from streamtwin.reports.figures.published import figures_figure
from streamtwin.reports.profile_page import reasons_of, render_profile
from streamtwin.reports.profile_tables import profile_tables

NAMES = sorted(path.name for path in shipped_profiles().iterdir() if path.is_dir())


def view(name):
    return view_of(read_profile(shipped_profiles() / name))


@pytest.fixture(scope="module")
def paper():
    return view("h100-sxm-sdv2-paper")


def printed(profile):
    console = Console(width=120, file=StringIO())
    for table in profile_tables(profile):
        console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_says_who_gives_it(name):
    profile = view(name)
    kinds = {answer.provenance.split(":")[0] for answer in profile.answers}
    assert kinds <= {"published", "derived", "assumed"}
    assert "assumed" in kinds
    for answer in profile.answers:
        assert answer.low_s < answer.mean_s < answer.high_s
        assert "measured" not in answer.provenance


@pytest.mark.parametrize("name", NAMES)
def test_every_assumption_has_its_reason_on_the_page(name):
    profile = view(name)
    page = render_profile(profile)
    assumed = [term for fit in profile.fits for term in fit.terms if term.assumed]
    assert assumed
    assert {reason for _, reason in reasons_of(profile)} == {t.assumed.reason for t in assumed}
    assert page.count("assumed, ") >= len(assumed)
    assert "standard error" in page


def test_published_figures_stand_beside_what_the_profile_makes_of_them(paper):
    page = render_profile(paper)
    for figure in paper.figures:
        assert figure.label in page
        assert figure.low < figure.predicted < figure.high
        assert abs(figure.error) < 0.025
    (axes,) = figures_figure(paper.figures).axes
    drawn = axes.lines[1].get_xdata()
    assert list(drawn) == pytest.approx([100 * figure.error for figure in paper.figures])
    assert len(axes.get_yticklabels()) == len(paper.figures)


def test_nothing_unknown_is_shown_as_environment(paper):
    assert set(paper.environment) == {"device", "date"}
    assert "unknown" not in printed(paper)


def test_a_terminal_shows_answers_figures_and_reasons(paper):
    text = printed(paper)
    for title in ("what it says", "published figures", "assumed"):
        assert re.search(rf"^{title}\s*$", text, re.M), title
    assert "limited by" not in text
