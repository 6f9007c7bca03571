"""How does a scenario come to lie over ranks? Which rank gets which blocks, checked."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from streamtwin.core import catalog
from streamtwin.core.costs import forecast, stage_costs
from streamtwin.core.errors import ScenarioError
from streamtwin.core.latency import LatencyModel
from streamtwin.core.plan import Plan
from streamtwin.core.policies.batching import PREDICTS
from streamtwin.core.policies.partition import PARTITION, WEIGHS_NOTHING, StageCosts
from streamtwin.core.scenario import Scenario
from streamtwin.core.stages import block_ranks, given_blocks, stages_of


def lay_out(
    scenario: Scenario,
    latency: Callable[[], LatencyModel] | None = None,
    itemsize: int = 4,
) -> Plan:
    """Lay *scenario* over its ranks.

    *latency* is asked only by policies that weigh predicted times.

    Raises:
        ScenarioError: more ranks than blocks, or a policy needs a latency model and has none.
        UserError: model or VAE are unknown.
    """
    model, vae = catalog.model(scenario.model), catalog.vae(scenario.vae)
    ranks = block_ranks(scenario.deployment)
    if ranks > model.blocks:
        most = model.blocks + scenario.deployment.gpus - ranks
        raise ScenarioError(
            f"deployment.gpus = {scenario.deployment.gpus}: {model.name} has {model.blocks} "
            f"blocks and every rank holds at least one, so choose at most {most}"
        )
    if model.latent_channels != vae.latent_channels:
        raise ScenarioError(
            f"vae = {vae.name!r} has {vae.latent_channels} latent channels, "
            f"model = {model.name!r} wants {model.latent_channels}"
        )
    for item, counts in scenario.deployment.partition.schedule.items():
        given_blocks(counts, model, ranks, f"schedule.{item}")
    whole = stages_of([range(model.blocks)] * ranks, scenario.deployment)
    draft = Plan(scenario, model, vae, whole, itemsize)
    plan = replace(draft, stages=stages_of(_blocks(draft, ranks, latency), scenario.deployment))
    batching = scenario.deployment.batching.policy
    if batching not in PREDICTS:
        return plan
    if latency is None:
        raise ScenarioError(f"deployment.batching.policy = {batching!r} needs a latency profile")
    return replace(plan, forecast=forecast(plan, latency()))


def _blocks(draft: Plan, ranks: int, latency: Callable[[], LatencyModel] | None) -> Sequence[range]:
    """Which blocks each of *ranks* ranks holds, as the scenario says or the policy decides."""
    partition, model = draft.scenario.deployment.partition, draft.model
    if partition.blocks is not None:
        return given_blocks(partition.blocks, model, ranks)
    if partition.policy in WEIGHS_NOTHING:
        costs = StageCosts((1.0,) * model.blocks, (0.0,) * ranks)
    elif latency is None:
        raise ScenarioError(
            f"deployment.partition.policy = {partition.policy!r} needs a latency profile"
        )
    else:
        costs = stage_costs(draft, latency())
    return PARTITION[partition.policy](costs)
