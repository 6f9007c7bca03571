"""How do objects and files travel between processes that share nothing but a key-value store?

In pieces, since the store keeps each value whole in memory on both sides. A key is set last, so
whoever sees it finds everything.
"""

import pickle
from pathlib import Path
from typing import Any

from torch.distributed import Store  # type: ignore[attr-defined]

PIECE_BYTES = 4 * 2**20


def post(store: Store, key: str, value: Any) -> None:  # noqa: ANN401 - any picklable value
    """Leave *value* under *key*."""
    _post_bytes(store, key, pickle.dumps(value))


def fetch(store: Store, key: str) -> Any:  # noqa: ANN401 - what was posted
    """Wait for *key* and take what was left there; only ranks of one run share a store."""
    return pickle.loads(_fetch_bytes(store, key))  # noqa: S301 - as collectives of objects do


def post_file(store: Store, key: str, path: Path) -> None:
    """Leave the file *path* under *key*; one that does not exist arrives as none."""
    _post_bytes(store, key, path.read_bytes() if path.exists() else b"")


def fetch_file(store: Store, key: str, path: Path) -> None:
    """Wait for *key* and write the file that was left there to *path*."""
    data = _fetch_bytes(store, key)
    if data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _post_bytes(store: Store, key: str, data: bytes) -> None:
    pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
    for number, piece in enumerate(pieces):
        store.set(f"{key}/{number}", piece)  # type: ignore[arg-type] # bytes are taken too
    store.set(key, str(len(pieces)))


def _fetch_bytes(store: Store, key: str) -> bytes:
    return b"".join(store.get(f"{key}/{number}") for number in range(int(store.get(key))))
