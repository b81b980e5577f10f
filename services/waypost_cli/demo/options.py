"""What the demo was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of `waypost demo`.

    `interactive`: a person at the terminal approves or denies; otherwise the demo's own officer approves. `chaos`: kill every service
    and server in turn while it runs. `input`: another CSV. `data_dir`: where servers keep their files; None: `WAYPOST_DATA_DIR`, or a
    fresh temporary directory. `seed`: which requests the legacy systems fail, 0 for the schedule chosen for the CSV that ships.
    """

    interactive: bool = False
    chaos: bool = False
    input: Path | None = None
    data_dir: Path | None = None
    seed: int = 0
