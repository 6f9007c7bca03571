"""What belongs to a block, and how does a stage let go of it or take it in?"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from streamtwin.kernels.cache import BlockState
from streamtwin.kernels.dit import DiTStage
from streamtwin.kernels.stage import SessionState


@dataclass(frozen=True, slots=True)
class SessionShare:
    """What one session keeps for a block: its state, and text keys and values by prompt."""

    state: BlockState
    texts: Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class BlockLoad:
    """A block as it moves: global number, weights by name, and what each session keeps for it."""

    index: int
    weights: Mapping[str, Tensor]
    sessions: Mapping[int, SessionShare]


@torch.inference_mode()
def take_block(dit: DiTStage, sessions: Mapping[int, SessionState], index: int) -> BlockLoad:
    """Remove block *index* from a stage and from the state of every session on its rank."""
    place = dit.held.index(index)
    weights = dict(dit.release(index).state_dict())
    return BlockLoad(
        index, weights, {number: _take(state, place) for number, state in sessions.items()}
    )


@torch.inference_mode()
def put_block(dit: DiTStage, sessions: Mapping[int, SessionState], load: BlockLoad) -> None:
    """Add a block to a stage and to the state of every session on its rank.

    Both ranks have computed the same items, so they hold the same sessions and prompts.
    """
    assert load.sessions.keys() == sessions.keys(), f"{load.sessions.keys()}, {sessions.keys()}"
    place = dit.adopt(load.index, dict(load.weights))
    for number, share in load.sessions.items():
        state = sessions[number]
        state.cache.put(place, share.state)
        assert share.texts.keys() == state.texts.keys()
        for prompt, (k, v) in share.texts.items():
            state.texts[prompt].put(place, k, v)


def _take(state: SessionState, place: int) -> SessionShare:
    texts = {prompt: text.take(place) for prompt, text in state.texts.items()}
    return SessionShare(state.cache.take(place), texts)
