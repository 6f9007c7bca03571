"""Which profile each card of a fleet asks, and the baselines as users simulate them."""

import pytest

from streamtwin.calibrate.locate import find_profile
from streamtwin.calibrate.profile import read_profile
from streamtwin.cli.fleet import capacities, card_of, profile_of_cards
from streamtwin.cli.predict import plan_of, predict
from streamtwin.cli.profiles import latency_of, profile_of
from streamtwin.core.errors import ScenarioError
from streamtwin.core.fleet import Fleet
from streamtwin.core.library import find_scenario
from streamtwin.sim.simulate import simulate

BASE = "sdv2-1.3b-480p"


@pytest.fixture(autouse=True)
def _no_profiles_of_this_host(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("STREAMTWIN_HOME", str(tmp_path))


def scenario(*overrides: str):
    still = "deployment.partition={policy: even}"
    return find_scenario(BASE, (still, "workload.chunks=20", "deployment.steps=2", *overrides))


def simulated(*overrides: str) -> dict:
    asked = scenario(*overrides)
    profile = profile_of(asked)
    _, metrics = predict(plan_of(asked, profile), profile, ())
    return metrics


def chosen(*overrides: str) -> str:
    return profile_of_cards(scenario(*overrides), 0).name


def test_a_card_asks_the_best_profile_that_answers() -> None:
    assert chosen("deployment.gpus=[{gpu: h100-sxm}]") == "h100-sxm-sdv2-paper"
    assert chosen("deployment.gpus=[{gpu: l40s}]") == "l40s-derived"
    # the published one of that card knows passes of one row only
    assert chosen("deployment.gpus=[{gpu: rtx4090}]") == "rtx4090-derived"
    one = ("deployment.gpus=[{gpu: rtx4090}]", "deployment.stream_batch=false")
    assert chosen(*one) == "rtx4090-sdv2-paper"
    assert chosen(*one, "profile=rtx4090-derived") == "rtx4090-derived"
    named = "deployment.gpus=[{gpu: rtx4090, profile: l40s-derived}]"
    assert chosen(named) == "l40s-derived"


@pytest.mark.parametrize(
    ("gpus", "parts"),
    [
        ("[{gpu: h100-pcie}]", ["deployment.gpus.0.gpu = 'h100-pcie'", "no profile", "calibrate"]),
        ("[{gpu: l40s, profile: mine}]", ["deployment.gpus.0.profile", "unknown profile 'mine'"]),
    ],
)
def test_a_card_without_a_profile_is_refused(gpus, parts) -> None:
    with pytest.raises(ScenarioError) as error:
        profile_of(scenario(f"deployment.gpus={gpus}"))
    for part in parts:
        assert part in str(error.value)


def test_a_fleet_of_equal_cards_is_predicted_as_their_number() -> None:
    listed = simulated("deployment.gpus=[{gpu: h100-sxm, count: 1}, {gpu: h100-sxm, count: 3}]")
    assert listed == simulated("deployment.gpus=4")


def test_every_rank_of_a_mixed_fleet_asks_its_own_profile() -> None:
    asked = scenario("deployment.gpus=[{gpu: h100-sxm, count: 2}, {gpu: rtx4090, count: 2}]")
    fleet = latency_of(profile_of(asked), asked)
    assert isinstance(fleet, Fleet)
    kinds = [model.provenance.kind for model in fleet.models]
    assert kinds == ["published", "published", "derived", "derived"]
    records = simulate(plan_of(asked, profile_of(asked)), fleet)
    passes = {s.rank: s.seconds for s in records.spans if s.kind == "dit"}
    assert passes[2] > passes[1]
    assert records.info.provenance["profile"].endswith("(derived)")


def test_a_card_has_its_memory_less_the_reserve() -> None:
    asked = scenario("deployment.gpus=[{gpu: h100-sxm}, {gpu: rtx4090}]")
    profile = profile_of(asked)
    assert capacities(asked, profile) == (80e9 - 2e9, 24e9 - 2e9)
    known = read_profile(find_profile("h100-sxm-sdv2-paper"))
    card = card_of(known)
    assert card is not None
    assert card.name == "h100-sxm"
    less = scenario("deployment.reserve_bytes=5e9", "deployment.gpus=2")
    assert capacities(less, known) == (75e9, 75e9)
    with pytest.raises(ScenarioError, match=r"rank 0 needs .*weights .* has 20,981"):
        simulated("model=wan2.1-14b", "deployment.gpus=[{gpu: rtx4090, count: 2}]")


@pytest.mark.parametrize("kind", ["ulysses", "ring"])
def test_exchanges_of_a_published_profile_are_modelled_by_the_cards_link(kind: str) -> None:
    shared = simulated("deployment.gpus=2", f"deployment.parallelism={kind}")
    assert "collective derived; dit derived" in shared["provenance"]["service_times"]
    alone = simulated("deployment.gpus=1")
    assert shared["fps"] > alone["fps"]
    low, high = shared["intervals"]["fps"]
    assert low < shared["fps"] < high
    slow = simulated(
        "deployment.gpus=2",
        f"deployment.parallelism={kind}",
        "deployment.hosts=[1, 1]",
        "deployment.links.hosts=ethernet-25g",
    )
    assert slow["fps"] < shared["fps"]


def test_baselines_stand_to_each_other_as_their_protocols_say() -> None:
    found = {}
    for kind in (
        *("sequential", "naive-pipeline", "sequence-parallel", "decoupled"),
        *("image-stream-batch", "whole-clip"),
    ):
        chunks = 4 if kind == "whole-clip" else 30
        asked = find_scenario(f"baseline-{kind}", (f"workload.chunks={chunks}",))
        profile = profile_of(asked)
        found[kind] = predict(plan_of(asked, profile), profile, ())[1]
    batch = simulated("deployment.steps=4", "deployment.gpus=4")
    fps = {kind: metrics["fps"] for kind, metrics in found.items()}
    assert fps["sequential"] < fps["naive-pipeline"] < batch["fps"]
    assert fps["sequential"] < fps["sequence-parallel"]
    assert fps["sequential"] < fps["image-stream-batch"]
    assert found["whole-clip"]["ttff_s"] > 81 / 16 > 10 * found["sequential"]["ttff_s"] / 2
    assert found["whole-clip"]["provenance"]["extrapolated"] == "true"
    assert found["naive-pipeline"]["provenance"]["extrapolated"] == "false"
