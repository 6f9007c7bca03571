"""Which sessions does a rank hold the state of, and how much memory did that take at most?"""

from collections.abc import Iterable

from streamtwin.kernels.stage import SessionState, StageKernels


class States:
    """The state of each session on one rank: made when its first row comes, dropped when it leaves."""

    def __init__(self, kernels: StageKernels) -> None:
        self.kernels = kernels
        self.held: dict[int, SessionState] = {}
        self.peak_bytes: dict[str, int] = {}

    def of(self, session: int) -> SessionState:
        """State of *session*, made if it has none."""
        if session not in self.held:
            self.held[session] = self.kernels.new_session(session)
        return self.held[session]

    def drop(self, sessions: Iterable[int]) -> None:
        """Let go of *sessions*, of which nothing follows."""
        leaving = list(sessions)
        if leaving:
            self.measure()  # caches are at their fullest when a session ends
        for session in leaving:
            self.held.pop(session, None)

    def measure(self) -> dict[str, int]:
        """Most bytes held at once, by purpose, as far as was measured."""
        for purpose, size in self._bytes().items():
            self.peak_bytes[purpose] = max(size, self.peak_bytes.get(purpose, 0))
        return self.peak_bytes

    def _bytes(self) -> dict[str, int]:
        states = list(self.held.values())
        vaes = [half for one in states for half in (one.encoder, one.decoder) if half is not None]
        return {
            "weights": weight_bytes(self.kernels),
            "kv": sum(state.cache.size_bytes for state in states),
            "cross_kv": sum(text.size_bytes for one in states for text in one.texts.values()),
            "vae": sum(half.size_bytes for half in vaes),
        }


def weight_bytes(kernels: StageKernels) -> int:
    """Bytes of the weights that this rank holds."""
    return sum(p.nbytes for module in kernels.modules for p in module.parameters())
