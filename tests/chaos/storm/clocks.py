"""Wall clocks that are off, one for each service, changed while it runs: a small library is preloaded that reads the shift from a file."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shift.c")
_SHIFT = struct.Struct("=q")


class Clocks:
    """The clocks of all services. `reason` says why they cannot be shifted here, "" if they can."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = folder / "clock_shift.so"
        self.reason = self._build()

    def _build(self) -> str:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if not sys.platform.startswith("linux"):
            return "clocks are shifted by LD_PRELOAD, on Linux only"
        if compiler is None:
            return "no C compiler (cc, gcc, clang) to build the library that shifts clocks"
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        return "" if built.returncode == 0 else f"the library that shifts clocks could not be built: {built.stderr.strip()[-300:]}"

    def environment(self, name: str) -> dict[str, str]:
        """What a service's environment needs so that its clock can be shifted."""
        if self.reason:
            return {}
        if not self._file(name).exists():
            self.shift(name, 0)
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK_FILE": str(self._file(name))}

    def shift(self, name: str, seconds: int) -> None:
        """The service's wall clock is off by so many seconds from now on, over restarts too."""
        path = self._file(name)
        path.touch()
        with path.open("r+b") as file:  # in place: it is mapped
            file.write(_SHIFT.pack(seconds))

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.clock"
