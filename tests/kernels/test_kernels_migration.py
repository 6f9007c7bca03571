"""A block that changes stages takes everything along, and comes back from a note unchanged."""

import torch
from kernel_cases import SPEC, context, latents, make_stage, new_session

from streamtwin.core.window import Window
from streamtwin.kernels.cache import PassRow
from streamtwin.kernels.migration import BlockLoad, put_block, take_block
from streamtwin.kernels.refresh import SinkRefresh
from streamtwin.kernels.stage import SessionState
from streamtwin.runtime.freight import NOTES, pack, unpack

WINDOW = Window(4, 1)


def open_state(stage, session: int) -> SessionState:
    """A session under two prompts."""
    prompts = {"a": stage.read_text(context), "b": stage.read_text(-context)}
    sinks = SinkRefresh("never", 0.2)
    return SessionState(session, stage.new_cache(2, WINDOW), None, None, sinks, prompts)


def through(stages, states, frame: int, prompt: str) -> torch.Tensor:
    """Pass one row of each of two sessions through *stages*."""
    x = stages[0].embed(latents(2, 1, frame))
    times = torch.tensor([[500.0], [700.0]])
    rows = [PassRow(0, frame, 1), PassRow(1, frame, 1)]
    for stage, own in zip(stages, states, strict=True):
        caches, texts = [s.cache for s in own], [s.texts[prompt] for s in own]
        x = stage(x, times, rows, caches, texts)
    return x


def hand_over(giver, givers, taker, takers, index: int) -> None:
    load = take_block(giver, dict(enumerate(givers)), index)
    put_block(taker, dict(enumerate(takers)), load)


@torch.inference_mode()
def test_a_block_behaves_the_same_wherever_it_is():
    blocks = SPEC.blocks
    assert blocks >= 2
    whole = make_stage(range(blocks))
    first = make_stage(range(1), heads_out=False)
    second = make_stage(range(1, blocks), embeds=False)
    alone = [[open_state(whole, s) for s in range(2)]]
    spread = [[open_state(stage, s) for s in range(2)] for stage in (first, second)]
    for frame in range(6):
        prompt = "a" if frame < 4 else "b"
        if frame == 2:
            for index in range(1, blocks):
                hand_over(second, spread[1], first, spread[0], index)
            assert (first.held, second.held) == (list(range(blocks)), [])
            assert spread[1][0].cache.size_bytes == 0
            assert not list(second.blocks.parameters())
        if frame == 4:
            for index in reversed(range(blocks)):
                hand_over(first, spread[0], second, spread[1], index)
            assert (first.held, second.held) == ([], list(range(blocks)))
        expected = through([whole], alone, frame, prompt)
        assert torch.equal(through([first, second], spread, frame, prompt), expected)
    assert spread[1][0].cache.size_bytes == alone[0][0].cache.size_bytes
    names = [name for name, _ in whole.named_parameters() if name.startswith("blocks.")]
    assert [n for n, _ in second.named_parameters() if n.startswith("blocks.")] == names


def test_a_load_comes_out_of_its_messages_as_it_went_in():
    stage = make_stage(range(2))
    state = open_state(stage, 7)
    state.cache.k[0].normal_()
    kept = state.cache.k[0].clone()
    load = take_block(stage, {7: state}, 0)
    messages = pack(load)
    queue = iter(messages)

    def receive(shape, dtype):
        message = next(queue)
        assert (tuple(message.shape), message.dtype) == (shape, dtype)
        return message.clone()

    came = unpack(receive)
    assert next(queue, None) is None
    assert isinstance(came, BlockLoad)
    assert came.index == 0
    assert torch.equal(came.sessions[7].state.k, kept)
    assert came.weights.keys() == load.weights.keys()
    for name, weight in load.weights.items():
        assert torch.equal(came.weights[name], weight)
    assert set(came.sessions[7].texts) == {"a", "b"}
    # the note holds no tensor: its length does not depend on theirs
    assert messages[1].numel() < 10_000
    assert len(messages) == NOTES + len(load.weights) + 2 + 2 * 2
    new = new_session(stage, context)
    assert len(new.text.k) == 1  # what is read from now on is read for the blocks that are here
