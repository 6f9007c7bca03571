"""What does a stage's pass begin with, and what becomes of its tokens at both ends?

Alone, a stage takes what comes in. Where members share its passes, the leader alone has what comes
in, and gets back what all of them have made of it.
"""

from torch import Tensor

from streamtwin.kernels.dit import DiTStage


def brought(dit: DiTStage, latents: Tensor, hidden: Tensor | None) -> Tensor:
    """What the pass begins with: latents [B, T', C, h, w] of a first stage, else tokens.

    Tokens are [B, T'*S, d], of a member its S/G of each frame. *latents* of the leader are filled
    into its members'. *hidden* is what came from the stage before, [B, T'*S, d]; a first stage and
    members have none. A first stage sends its members latents and not tokens: a token's latents
    are 64 numbers, its hidden state thousands, and each member embeds them by itself at no cost
    that shows.
    """
    sequence = dit.sequence
    if dit.patch_embedding is not None:
        return latents if sequence is None else sequence.broadcast(latents)
    if sequence is not None:
        rows, frames = latents.shape[:2]
        own = latents.new_empty(rows, frames * sequence.tokens, dit.spec.dim)
        return sequence.scatter(hidden if sequence.leads else None, own)
    assert hidden is not None
    return hidden


def enter(dit: DiTStage, taken: Tensor) -> Tensor:
    """Tokens that the blocks start from, of a member its share of each frame."""
    if dit.patch_embedding is None:
        return taken
    tokens = dit.embed(taken)
    return tokens if dit.sequence is None else dit.sequence.own(tokens, 1)


def leave(dit: DiTStage, hidden: Tensor) -> Tensor:
    """What the stage hands on, [B, T'*S, d]; members keep their share of it."""
    return hidden if dit.sequence is None else dit.sequence.gather(hidden)
