"""What of a TAEHV checkpoint does our decoder use, and in which shape?

The checkpoint taew2_1 has an encoder too, which is not used. A layer that can make more frames out
of one than the decoder asks for keeps the channels of the later ones at the end of its weight, and
these are taken: the rule of the published decoder.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from streamtwin.kernels.tensor_files import Stored, TensorFiles

UNUSED = "encoder."


class DecoderFiles:
    """The decoder's tensors of *files*, those named in *grows* cut to the channels they need.

    *grows*: the output channels of each layer that makes frames, by its weight's name.
    """

    def __init__(self, files: TensorFiles, grows: Mapping[str, int]) -> None:
        self.files, self.grows = files, grows
        self.entries: Mapping[str, Stored] = {
            name: replace(stored, shape=self._cut(name, stored.shape))
            for name, stored in files.entries.items()
            if not name.startswith(UNUSED)
        }

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """The tensors *names* in host memory; UserError when the file is damaged."""
        for name, value in self.files.read(names):
            yield name, value[-self.grows[name] :] if name in self.grows else value

    def _cut(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Another shape only where whole frames are left out."""
        wanted = self.grows.get(name)
        if wanted is None or len(shape) != 4 or shape[0] < wanted or shape[0] % shape[1]:
            return shape
        return (wanted, *shape[1:])
