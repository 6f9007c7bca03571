"""Can this be run here at all? Asked before anything is measured or written."""

from streamtwin.core.scenario import Scenario


def check_can_run(scenario: Scenario, device: str) -> None:
    """Refuse what *device* cannot run, before anything is measured or written.

    Raises:
        UserError: there is no such device, or its memory does not hold the scenario evenly split.
        ScenarioError: model, VAE or partition do not go together.
    """
    from streamtwin.core.memory import check_memory  # noqa: PLC0415
    from streamtwin.core.partition import Partition  # noqa: PLC0415
    from streamtwin.core.plan import lay_out  # noqa: PLC0415
    from streamtwin.runtime.devices import check_device, free_bytes  # noqa: PLC0415

    check_device(device, scenario.deployment.gpus)
    asked = scenario.deployment.partition
    partition = Partition(blocks=asked.blocks, schedule=asked.schedule)
    evenly = scenario.deployment.model_copy(update={"partition": partition})
    plan = lay_out(
        scenario.model_copy(update={"deployment": evenly}),
        itemsize=4 if device == "cpu" else 2,
    )
    check_memory(plan, free_bytes(device, plan.ranks), device)
