"""How long may things take that should take no time at all?"""

HANG_TIMEOUT_S = 60.0
"""Without a beat for so long a rank counts as stuck. Longer than any honest service: a 14B pass or
the decoding of a chunk takes seconds at most on a card, and building a stage is not watched."""

START_S, LONG_START_S = 120.0, 1800.0
"""Time that ranks have to become ready. Long, where a file is read (14B parameters in float32 are
57 GB, half an hour at 32 MB/s from a shared disk) or passes are compiled or recorded."""

MESSAGE_S = 7 * 86_400.0
"""How long a message of a run may be open. A receive that is posted ahead waits for ranks that still
load their weights, and for input that pauses; who hangs is known by beats, not by messages."""
