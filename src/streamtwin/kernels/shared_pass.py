"""With which tokens does a stage's pass begin, and what becomes of them at its end?

Alone, a stage takes what comes in. Where members share its passes, the leader alone has what comes
in, and gets back what all of them have made of it.
"""

from torch import Tensor

from streamtwin.kernels.dit import DiTStage


def enter(dit: DiTStage, latents: Tensor, hidden: Tensor | None) -> Tensor:
    """Tokens that the blocks start from, [B, T'*S, d]; of a member its S/G of each frame.

    *latents* are [B, T', C, h, w], those of the leader are filled into its members'. *hidden* is
    what came from the stage before, [B, T'*S, d]; a first stage and members have none. A first
    stage sends its members latents and not tokens: a token's latents are 64 numbers, its hidden
    state thousands, and each member embeds them by itself at no cost that shows.
    """
    sequence = dit.sequence
    if dit.patch_embedding is not None:
        if sequence is None:
            return dit.embed(latents)
        return sequence.own(dit.embed(sequence.broadcast(latents)), 1)
    if sequence is not None:
        rows, frames = latents.shape[:2]
        own = latents.new_empty(rows, frames * sequence.tokens, dit.spec.dim)
        return sequence.scatter(hidden if sequence.leads else None, own)
    assert hidden is not None
    return hidden


def leave(dit: DiTStage, hidden: Tensor) -> Tensor:
    """What the stage hands on, [B, T'*S, d]; members keep their share of it."""
    return hidden if dit.sequence is None else dit.sequence.gather(hidden)
