"""Did a rank run out of memory, and what did it hold when it did?"""

from collections.abc import Mapping

from streamtwin.core.memory import MIB

ALLOCATOR_WORDS = ("can't allocate memory", "not enough memory", "out of memory")
"""What torch's CPU allocator and CUDA say in a bare RuntimeError when there is no memory left."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether *error* says that an allocation failed, on the host or on a card."""
    if isinstance(error, MemoryError):
        return True
    # torch.OutOfMemoryError is a RuntimeError; the CPU's allocator raises a bare one
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in ALLOCATOR_WORDS
    )


def out_of_memory_words(error: BaseException, where: str, held: Mapping[str, int]) -> str:
    """Word it: where it happened, what the allocator said, and what the rank held by purpose."""
    said = str(error).strip().splitlines()
    parts = ", ".join(f"{name} {size / MIB:,.1f}" for name, size in held.items())
    total = sum(held.values()) / MIB
    holds = f"it held {total:,.1f} MiB ({parts})" if held else "it held no weights yet"
    return (
        f"ran out of memory in {where}: {said[0] if said else type(error).__name__}; {holds}: "
        "use more ranks, fewer steps, a smaller window or a smaller model"
    )
