"""Scenario files: defaults, overrides, and one clear answer to each mistake."""

from pathlib import Path

import pytest

from builders import FlatLatency
from streamtwin.core import catalog
from streamtwin.core.errors import ScenarioError, UserError
from streamtwin.core.layout import lay_out
from streamtwin.core.library import find_scenario, find_variants, shipped_names
from streamtwin.core.memory import check_memory, rank_memory
from streamtwin.core.policies.partition import PARTITION
from streamtwin.core.scenario import Scenario
from streamtwin.core.scenario_file import check_scenario, parse_scenario

CHUNKS = "workload: {chunks: 9}\n"


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_scenario_asks_something_and_can_be_laid_out(name: str) -> None:
    assert find_scenario(name).question.endswith("?")
    for scenario in find_variants(name).values():
        assert lay_out(scenario, FlatLatency).ranks == scenario.deployment.gpus


def test_a_scenario_survives_being_written_out() -> None:
    scenario = find_scenario("cpu-tiny")
    assert check_scenario(scenario.model_dump(mode="json"), "again") == scenario


def test_overrides_reach_nested_keys_and_win_over_variants() -> None:
    scenario = find_scenario("cpu-tiny", ("deployment.gpus=2", "slo.fps=24", "seed=7"))
    assert (scenario.deployment.gpus, scenario.slo.fps, scenario.seed) == (2, 24.0, 7)
    variants = find_variants("cpu-tiny", ("deployment.steps=3",))
    assert len(variants) == 4
    assert {v.deployment.steps for v in variants.values()} == {3}


def test_a_planned_partition_is_checked_against_the_model() -> None:
    text = f"deployment: {{gpus: 2, partition: {{schedule: {{4: [3, 2]}}}}}}\n{CHUNKS}"
    with pytest.raises(ScenarioError, match=r"partition.schedule.4 = \[3, 2\]: give 2 counts"):
        lay_out(parse_scenario(text, "x"))


def test_a_length_in_chunks_replaces_one_in_seconds() -> None:
    text = "workload: {duration_s: 10}"
    assert parse_scenario(text, "x").chunks == 40
    assert parse_scenario(text, "x", ("workload.chunks=9",)).chunks == 9


MISTAKES = {
    "deployment: {gpu: 2}": ["deployment.gpu", "did you mean 'gpus'"],
    "deployment: {gpus: 0}": ["deployment.gpus = 0", "greater than or equal to 1"],
    "deployment: {gpus: two}": ["deployment.gpus = 'two'", "integer"],
    "deployment: {vae_placement: dedicated, gpus: 2}": ["gpus = 2", "at least 3"],
    "deployment: {vae_placement: dedicated, gpus: 4, decode: before_send}": ["'before_send'"],
    "deployment: {decode: later}": ["deployment.decode = 'later'", "'before_send'"],
    "deployment: {protocol: magic}": ["deployment.protocol = 'magic'", "'sdv2'"],
    "deployment: {partition: {policy: best}}": ["partition.policy = 'best'", "even, optimal"],
    "deployment: {partition: {rebalance: once}}": [
        "'once' with policy = 'even'",
        "optimal, greedy",
    ],
    "deployment: {partition: {policy: sdv2_once, rebalance: continuous}}": ["which moves once"],
    "deployment: {partition: {policy: optimal, rebalance: once, least_blocks: 0}}": [
        "least_blocks = 0, which only sdv2_once"
    ],
    "deployment: {partition: {least_blocks: 2}}": ["least_blocks = 2", "less than or equal to 1"],
    "deployment: {partition: {policy: greedy, rebalance: once, schedule: {3: [6]}}}": [
        "deployment.partition.schedule leaves it nothing to decide"
    ],
    "deployment: {partition: {schedule: {-1: [6]}}}": ["schedule.-1", "greater than or equal to 0"],
    "deployment: {partition: {every_items: 0}}": ["every_items = 0", "greater than or equal to 1"],
    "deployment: {gpus: 2, slowdown: {2: 3.0}}": ["slowdown = {2: 3.0}", "numbered 0 to 1"],
    "deployment: {slowdown: {0: 0.5}}": ["slowdown.0 = 0.5", "greater than or equal to 1"],
    "deployment: {sink: 6}": ["sink = 6", "below window = 6"],
    "deployment: {chunk_latents: 4}": ["chunk_latents = 4", "3 rotating frames"],
    "deployment: {window: 2, sink: 0, chunk_latents: 2}": ["chunk_latents = 2", "one latent more"],
    "conditioning: {rope_refresh: reset, rope_threshold: 5}": ["rope_threshold = 5", "window = 6"],
    "conditioning: {sink_refresh: often}": ["sink_refresh = 'often'", "kv_similarity, prompt"],
    "conditioning: {sink_threshold: 2}": ["sink_threshold = 2", "less than or equal to 1"],
    "resolution: [100, 256]": ["height = 100", "multiple of 16"],
    "resolution: [160]": ["resolution.1", "Field required"],
    "workload: {chunks: 9, duration_s: 3}": ["exactly one of duration_s", "chunks = 9"],
    "workload: {source_fps: -1, chunks: 3}": ["source_fps = -1", "greater than or equal to 0.1"],
    "workload: {source_fps: .inf, chunks: 3}": ["source_fps = inf", "100000"],
    "workload: {duration_s: .inf}": ["duration_s = inf", "finite"],
    "workload: {duration_s: 0.1}": ["duration_s = 0.1 is 0 chunks", "3 to 1000000"],
    "workload: {chunks: 2}": ["chunks = 2", "greater than or equal to 3"],
    "workload: {chunks: 1000000000}": ["less than or equal to 1000000"],
    "workload: {chunks: 3}\nworkload: {chunks: 5}": ["key 'workload' stands twice", "line 1"],
    "workload: 3": ["workload = 3", "a section with keys"],
    "seed: 2024-13-45": ["not valid YAML", "month must be in 1..12"],
    "seed: !!int foo": ["not valid YAML", "'foo'"],
    "name: ../../escape": ["name = '../../escape'", "pattern"],
    "conditioning: {noise_rate: 0.1}": ["noise_rate = 0.1", "greater than or equal to 0.2"],
    "conditioning: {noise_controller: {s_min: 0.09}}": ["s_min = 0.09", "or equal to 0.1"],
    "conditioning: {noise_controller: {s_max: 1.1}}": ["s_max = 1.1", "less than or equal to 1"],
    "conditioning: {noise_controller: {s_min: 0.9}}": ["controller.s_min = 0.9", "s_max = 0.8"],
    "conditioning: {noise_controller: {sigma: 0}}": ["controller.sigma = 0", "greater than 0"],
    "conditioning: {noise_controller: {k: 0}}": ["controller.k = 0", "greater than or equal to 1"],
    "conditioning: {noise_controller: {lam: 0}}": ["controller.lam = 0", "greater than 0"],
    "conditioning: {noise_controller: {lambda: 1}}": ["controller.lambda", "known here: k, sigma"],
    "conditioning: {noise: motion_window, noise_rate: 0.5}": [
        "conditioning.noise_rate = 0.5",
        "within conditioning.noise_controller's s_min = 0.7 to s_max = 0.8",
    ],
    "variants: {A: [foo]}": ["variant 'A'", "override 'foo': write key=value"],
    "variants: {A: [deployment.steps=9]}": ["variant 'A'", "deployment.steps = 9"],
    "deployment: {window: 1}": ["window = 1", "greater than or equal to 2"],
    "workload: {admission: perhaps, chunks: 3}": ["'perhaps'", "drop_oldest"],
    "workload: {chunks: 3, visits: [{nope: 1}]}": [
        "unknown key 'workload.visits.0.nope'",
        "known here: join_s, chunks, prompts, noise_key",
    ],
    "vae: nope": ["vae = 'nope'", "known: taehv"],
    "model: nope": ["model = 'nope'", "known: tiny"],
    "deployment: {gpus: 2, partition: {blocks: [1, 1]}}": ["blocks = [1, 1]", "the 6 blocks"],
    "deployment: {gpus: 2, partition: {schedule: {3: [1]}}}": ["schedule.3 = [1]", "2 counts"],
    "deployment: {gpus: 7}": ["deployment.gpus = 7", "choose at most 6"],
    "slo: {miss_rate: 2}": ["slo.miss_rate = 2", "less than or equal to 1"],
    "weights: {dits: x}": ["weights.dits", "did you mean 'dit'", "text_encoder"],
    "weights: {dit: ''}": ["weights.dit = ''", "at least 1 character"],
    "weights: {dit: 3}": ["weights.dit = 3", "valid string"],
    "weights: {prompt_embedding: a.pt, text_encoder: t5}": ["'a.pt'", "'t5'", "give one of them"],
    "conditioning: {prompt: [a]}": ["conditioning.prompt = ['a']", "valid string"],
    "- a list": ["a mapping of keys, not list"],
    "a: [": ["not valid YAML"],
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_answered_with_key_value_and_choices(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text if "workload" in text or not text[0].isalpha() else CHUNKS + text)
    with pytest.raises(ScenarioError) as error:
        find_scenario(str(path))
    for part in [str(path), *MISTAKES[text]]:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


LINES = """\
name: lines
deployment:
  gpus: 2
  slowdown: {7: 2}
  partition:
    blocks:
    - 1
    - 1
vae: nope
workload:
  chunks: 6
  visits:
  - {join_s: 1}
  - prompts:
      late: x
"""


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], ":15: workload.visits.1.prompts.late"),
        (["deployment.steps=9", "seed=-1"], " with deployment.steps=9 seed=-1: deployment.steps"),
        (["workload.visits=[]"], ":4 with workload.visits=[]: deployment.slowdown"),
        (["workload.visits=[]", "deployment.slowdown={}"], ":9 with workload.visits=[] "),
        (
            ["workload.visits=[]", "deployment.slowdown={}", "vae=tiny"],
            ":6 with workload.visits=[] deployment.slowdown={} vae=tiny: deployment.partition.blocks",
        ),
        # the other half of what contradicts each other is in the file
        (["workload.visits=[]", "deployment.slowdown={9: 2}"], ":3 with workload.visits=[] "),
    ],
)
def test_a_mistake_is_named_with_its_line_unless_an_override_made_it(
    overrides: list[str], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(LINES)
    with pytest.raises(ScenarioError) as error:
        find_scenario(str(path), tuple(overrides))
    assert str(error.value).startswith(f"{path}{said}")


def test_each_further_mistake_has_its_line_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(LINES.replace("7: 2", "x: 2"))
    with pytest.raises(ScenarioError, match=r"mine.yaml:4: .*; line 15: workload.visits.1.prompts"):
        find_scenario(str(path))


def test_a_bomb_of_merged_keys_is_answered_at_once(tmp_path: Path) -> None:
    """Each level merges the one before nine times over."""
    levels = [f"b{n}: &m{n} {{<<: [{', '.join(9 * [f'*m{n - 1}'])}]}}" for n in range(1, 9)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(["b0: &m0 {a: 1, b: 2}", *levels]))
    with pytest.raises(ScenarioError, match=r"more than 100,000 keys are merged"):
        find_scenario(str(path))


def test_what_is_no_file_is_not_read() -> None:
    with pytest.raises(ScenarioError, match="it is no file"):
        find_scenario("/dev/zero")


def test_a_bomb_of_aliases_is_answered_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join([*lines, "workload: {chunks: *a29}"]))
    with pytest.raises(ScenarioError) as error:
        find_scenario(str(path))
    assert len(str(error.value)) < 10_000


def test_deep_nesting_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("[" * 20_000)
    with pytest.raises(ScenarioError, match="nested too deeply"):
        find_scenario(str(path))


def test_a_partition_may_be_given_and_must_cover_the_blocks() -> None:
    data = {"deployment": {"gpus": 2, "partition": {"blocks": [2, 4]}}, "workload": {"chunks": 3}}
    plan = lay_out(check_scenario(data, "x"))
    assert [stage.blocks for stage in plan.stages] == [range(2), range(2, 6)]
    for wrong in ([3, 2], [6], [0, 6], [2, 2, 2]):
        data["deployment"]["partition"]["blocks"] = wrong  # type: ignore[index]
        with pytest.raises(
            ScenarioError, match=r"partition.blocks = .*sum to the 6 blocks of tiny"
        ):
            lay_out(check_scenario(data, "x"))


@pytest.mark.parametrize(
    ("override", "answer"),
    [("deployment.gpus", "write key=value"), ("name.x=1", "name is a value"), ("=3", "key=value")],
)
def test_a_wrong_override_is_named(override: str, answer: str) -> None:
    with pytest.raises(ScenarioError, match=answer):
        find_scenario("cpu-tiny", (override,))


def test_unknown_names_are_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"unknown scenario 'cpu-tinny'; known: .*cpu-tiny"):
        find_scenario("cpu-tinny")
    with pytest.raises(ScenarioError, match=r"nowhere.yaml"):
        find_scenario(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(UserError, match=r"unknown model 'wan9'; known: .*tiny"):
        lay_out(check_scenario({"model": "wan9", "workload": {"chunks": 3}}, "x"))


def test_more_ranks_than_blocks_are_refused() -> None:
    scenario = check_scenario({"deployment": {"gpus": 7}, "workload": {"chunks": 3}}, "x")
    with pytest.raises(ScenarioError, match=r"deployment.gpus = 7: tiny has 6 blocks"):
        lay_out(scenario)


def test_optimal_partition_needs_a_profile() -> None:
    data = {"deployment": {"partition": {"policy": "optimal"}}, "workload": {"chunks": 3}}
    with pytest.raises(ScenarioError, match="'optimal' needs a latency profile"):
        lay_out(check_scenario(data, "x"))


def test_what_does_not_fit_is_refused_with_the_numbers() -> None:
    data = {"model": "wan2.1-14b", "vae": "wan2.1", "resolution": [480, 832]}
    plan = lay_out(check_scenario({**data, "workload": {"chunks": 3}}, "x"), itemsize=2)
    held = rank_memory(plan, plan.stages[0])
    # weights 28.6 GB and a VAE's 0.25 GB; KV of two rows 15.3 GB: 191.7 MB a block and row
    assert held["weights"] == 2 * (14_288_491_584 + 126_892_531)
    assert held["kv"] == 2 * 40 * 2 * 6 * 1560 * 5120 * 2
    with pytest.raises(ScenarioError, match=r"rank 0 needs [\d,]+ MiB \(weights 27,495, kv 14,625"):
        check_memory(plan, 24e9, "rtx4090")


def test_schema_names_every_default() -> None:
    schema = Scenario.model_json_schema()
    assert schema["$defs"]["Deployment"]["properties"]["steps"]["default"] == 2
    assert schema["$defs"]["Partition"]["properties"]["policy"]["enum"] == list(PARTITION)


@pytest.mark.parametrize("kind", ["models", "vaes", "gpus", "links"])
def test_every_catalogue_entry_loads(kind: catalog.Kind) -> None:
    load = {
        "models": catalog.model,
        "vaes": catalog.vae,
        "gpus": catalog.gpu,
        "links": catalog.link,
    }
    for name in catalog.names(kind):
        assert load[kind](name).name == name
    for name in catalog.names("gpus"):
        assert catalog.gpu(name).link in catalog.names("links")


def test_published_sizes_follow_from_the_specs() -> None:
    """FLOPs and bytes of one block and row as the reference's analysis states them."""
    small, large = catalog.model("wan2.1-1.3b"), catalog.model("wan2.1-14b")
    assert small.block_flops(1560, 9360) == pytest.approx(224.7e9, rel=1e-3)
    assert large.block_flops(1560, 9360) == pytest.approx(1247.8e9, rel=1e-3)
    assert small.kv_bytes(6, 1560, 2) == pytest.approx(57.5e6, rel=1e-3)
    assert large.kv_bytes(6, 1024, 2) == pytest.approx(125.8e6, rel=1e-3)
    for name, size in (("wan2.1-1.3b", 4.99e6), ("wan2.1-14b", 16.17e6)):
        data = {"model": name, "vae": "wan2.1", "resolution": [480, 832]}
        plan = lay_out(check_scenario({**data, "workload": {"chunks": 3}}, "x"), itemsize=2)
        assert plan.row_bytes(1) == pytest.approx(size, rel=2e-3)
