"""Over how many members is a stage's pass split, and can it be split that way?

The ranks that hold blocks stand in stages of G members each, G neighbours a stage; the first of
them leads. Every member holds the same blocks and an equal share of the tokens of
each latent frame.
"""

from collections.abc import Iterable
from typing import Literal

from streamtwin.core.errors import ScenarioError

Parallelism = Literal["pipeline", "ulysses", "ring"]
"""How the members of a stage attend each other's tokens.

`pipeline`: a stage is one rank. `ulysses`: tokens are exchanged for heads around attention.
`ring`: keys stay where their tokens are, and queries travel round the members.
"""


def stage_members(
    parallelism: Parallelism, gpus: int, sequence_ranks: int | None, vae_ranks: int = 0
) -> int:
    """G: members of each stage; where *sequence_ranks* is None, all or, in a pipeline, 1.

    All are *gpus* less the *vae_ranks*, which hold no blocks.

    Raises:
        ScenarioError: a pipeline with more than one member, or ranks cannot be grouped so.
    """
    if parallelism == "pipeline":
        if sequence_ranks not in (None, 1):
            raise ScenarioError(
                f"deployment.sequence_ranks = {sequence_ranks}: a stage of a pipeline is one rank; "
                "leave it out or choose deployment.parallelism = ulysses or ring"
            )
        return 1
    ranks = gpus - vae_ranks
    members = ranks if sequence_ranks is None else sequence_ranks
    if members < 1 or ranks % members:
        less = f" less the {vae_ranks} ranks of the VAE" if vae_ranks else ""
        raise ScenarioError(
            f"deployment.sequence_ranks = {members} does not divide deployment.gpus = {gpus}{less}: "
            f"choose {_one_of(_divisors(ranks))}"
        )
    return members


def check_split(
    parallelism: Parallelism, stages: int, members: int, tokens: int, heads: int
) -> None:
    """Refuse passes of *stages* stages that do not split into equal parts, one a member.

    *tokens* are those of one latent frame (S). Ulysses also splits the *heads*.

    Raises:
        ScenarioError: names the numbers of members that would do.
    """
    limits = {"tokens of a latent frame": tokens}
    if parallelism == "ulysses":
        limits["heads of the model"] = heads
    legal = [
        n for n in _divisors(stages * members) if all(count % n == 0 for count in limits.values())
    ]
    for what, count in limits.items():
        if count % members:
            raise ScenarioError(
                f"deployment.sequence_ranks = {members}: {parallelism} cannot share the {count} "
                f"{what} equally; choose {_one_of(legal)}"
            )


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _one_of(numbers: Iterable[int]) -> str:
    return "one of " + ", ".join(str(number) for number in numbers)
