"""What a leaf of the audit log says: these exact bytes are event `seq` of run `run_id`.

    data  0x01 ‖ run id, 16 bytes ‖ seq, 8 bytes, big-endian ‖ the published bytes of the event
    leaf  SHA-256(0x00 ‖ data)

The first byte of the data is the version of this layout. The run and the number are in the published bytes too; here they cannot be read in
two ways.
"""

from __future__ import annotations

import hashlib
from typing import Final

LEAF_PREFIX: Final = b"\x00\x01"
"""The tree's prefix of a leaf, and the version of its data."""
_sha256 = hashlib.sha256


def event_leaf(run_id: str, seq: int, body: bytes) -> bytes:
    """The leaf hash of an event. Raises `ValueError` when `run_id` is no UUID, `OverflowError` for a negative or huge `seq`."""
    run = bytes.fromhex(run_id.replace("-", ""))
    if len(run) != 16:
        raise ValueError(f"{run_id!r} is not a run id")
    return _sha256(LEAF_PREFIX + run + seq.to_bytes(8, "big") + body).digest()
