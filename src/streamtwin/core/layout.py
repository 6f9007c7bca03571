"""How does a scenario come to lie over ranks? Which rank gets which blocks, checked."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from streamtwin.core import catalog
from streamtwin.core.costs import forecast, stage_costs
from streamtwin.core.deployment import Batching, Deployment
from streamtwin.core.errors import ScenarioError, UserError
from streamtwin.core.latency import LatencyModel
from streamtwin.core.mesh import check_mesh
from streamtwin.core.partition import Partition
from streamtwin.core.plan import Plan
from streamtwin.core.policies.batching import PREDICTS
from streamtwin.core.policies.partition import PARTITION, WEIGHS_NOTHING, StageCosts
from streamtwin.core.policies.session_admission import PREDICTS_SESSIONS
from streamtwin.core.prices import check_prices
from streamtwin.core.scenario import Scenario
from streamtwin.core.sequence import check_split
from streamtwin.core.specs import ModelSpec, VaeSpec
from streamtwin.core.stages import given_blocks, stages_of


def lay_out(
    scenario: Scenario,
    latency: Callable[[], LatencyModel] | None = None,
    itemsize: int = 4,
) -> Plan:
    """Lay *scenario* over its ranks.

    *latency* is asked only by policies that weigh predicted times.

    Raises:
        ScenarioError: more stages than blocks, a stage's members cannot share its passes equally,
            a policy needs a latency model and has none, or model or VAE are unknown.
    """
    model, vae = _kinds(scenario)
    deployment = scenario.deployment
    stages, members = deployment.block_stages, deployment.members
    if stages > model.blocks:
        most = (model.blocks - stages) * members + deployment.gpus
        raise ScenarioError(
            f"deployment.gpus = {deployment.gpus}: {model.name} has {model.blocks} blocks and every "
            f"{'rank' if members == 1 else 'stage'} holds at least one, so choose at most {most}"
        )
    check_mesh(deployment)
    check_prices(scenario)
    check_split(deployment.parallelism, stages, members, scenario.size.tokens, model.heads)
    if model.latent_channels != vae.latent_channels:
        raise ScenarioError(
            f"vae = {vae.name!r} has {vae.latent_channels} latent channels, "
            f"model = {model.name!r} wants {model.latent_channels}"
        )
    for item, counts in deployment.partition.schedule.items():
        given_blocks(counts, model, stages, f"schedule.{item}", deployment.partition.least_blocks)
    check_moves(deployment, members)
    whole = stages_of([range(model.blocks)] * stages, deployment)
    draft = Plan(scenario, model, vae, whole, itemsize)
    costs, room = _costs(draft, stages, latency), scenario.workload.entry.room
    laid = stages_of(_blocks(draft, stages, costs), deployment)
    plan = replace(draft, stages=laid, session_room=room, costs=costs)
    batching, entry = deployment.batching.policy, scenario.workload.entry.policy
    if batching not in PREDICTS and entry not in PREDICTS_SESSIONS:
        return plan
    if latency is None:
        key = f"deployment.batching.policy = {batching!r}"
        if batching not in PREDICTS:
            key = f"workload.entry.policy = {entry!r}"
        raise ScenarioError(f"{key} needs a latency profile")
    return replace(plan, forecast=forecast(plan, latency()))


def evenly(scenario: Scenario) -> Scenario:
    """*scenario* without the policies that weigh predicted times: what is known before any is."""
    deployment = scenario.deployment
    asked = deployment.partition
    partition = Partition(blocks=asked.blocks, schedule=asked.schedule)
    batching = Batching(batch=deployment.batching.batch)
    plain = deployment.model_copy(update={"partition": partition, "batching": batching})
    workload = scenario.workload
    easy = workload.model_copy(update={"entry": workload.entry.unpredicted})
    return scenario.model_copy(update={"deployment": plain, "workload": easy})


def check_layout(scenario: Scenario) -> None:
    """Refuse what no prediction could make right: as `lay_out`, but no policy is asked."""
    lay_out(evenly(scenario))
    check_moves(scenario.deployment, scenario.deployment.members)


def _kinds(scenario: Scenario) -> tuple[ModelSpec, VaeSpec]:
    try:
        model = catalog.model(scenario.model)
    except UserError as error:
        raise ScenarioError(f"model = {scenario.model!r}: {error}") from error
    try:
        return model, catalog.vae(scenario.vae)
    except UserError as error:
        raise ScenarioError(f"vae = {scenario.vae!r}: {error}") from error


def check_moves(deployment: Deployment, members: int) -> None:
    """Refuse blocks that move between stages of several ranks, whose keys lie apart.

    Raises:
        ScenarioError: names the keys and what may be chosen instead.
    """
    partition = deployment.partition
    if members > 1 and (partition.trigger != "never" or partition.schedule):
        key = "schedule" if partition.schedule else f"rebalance = {partition.trigger}"
        raise ScenarioError(
            f"deployment.partition.{key} with {members} ranks a stage (deployment.parallelism = "
            f"{deployment.parallelism}): blocks move between stages of one rank only; choose "
            "partition.rebalance = never without a schedule, or parallelism = pipeline"
        )


def _costs(
    draft: Plan, stages: int, latency: Callable[[], LatencyModel] | None
) -> StageCosts | None:
    """What the partition policy weighs; None where the scenario says itself who holds what."""
    partition = draft.scenario.deployment.partition
    if partition.blocks is not None:
        return None
    if partition.policy in WEIGHS_NOTHING:
        return StageCosts((1.0,) * draft.model.blocks, (0.0,) * stages)
    if latency is None:
        raise ScenarioError(
            f"deployment.partition.policy = {partition.policy!r} needs a latency profile"
        )
    return stage_costs(draft, latency())


def _blocks(draft: Plan, stages: int, costs: StageCosts | None) -> Sequence[range]:
    """Which blocks each of *stages* stages holds, as the scenario says or the policy decides."""
    partition = draft.scenario.deployment.partition
    if costs is not None:
        return PARTITION[partition.policy](costs)
    assert partition.blocks is not None
    return given_blocks(partition.blocks, draft.model, stages, least=partition.least_blocks)
