"""Processes of a pool that do not outlive who made them. A module of its own, because they import it by its name."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """This process ends when `parent` does, also by `kill -9`: it would go on with its seeds for nobody. For Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the request was in place
            os._exit(1)
