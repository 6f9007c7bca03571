"""Which KV slot does a latent frame occupy, and how many frames can be attended?

The first `sink` frames stay as anchors; the others rotate through the remaining slots. Both
answers follow from the frame's number alone, so no ring pointer exists that could be lost,
shared between sessions or left behind when a block moves.
"""

from dataclasses import dataclass

from streamtwin.core.errors import ScenarioError


@dataclass(frozen=True, slots=True)
class Window:
    """A ring of `frames` latent frames of K and V, of which the first `sink` are anchors."""

    frames: int
    sink: int

    def __post_init__(self) -> None:
        if not 0 <= self.sink < self.frames:
            raise ScenarioError(
                f"sink = {self.sink} must be at least 0 and below window = {self.frames} frames"
            )

    @property
    def ring(self) -> int:
        """Slots that rotate."""
        return self.frames - self.sink

    def slot(self, frame: int) -> int:
        """Slot of the latent frame number *frame*, counted from the session's start."""
        if frame < self.sink:
            return frame
        return self.sink + (frame - self.sink) % self.ring

    def filled(self, frame: int) -> int:
        """Frames held once *frame* has been written."""
        return min(frame + 1, self.frames)
