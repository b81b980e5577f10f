"""Small disks that can be full: one tmpfs each, which is shrunk to what is in it and grown again. Needs root (and a mount namespace)."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

_CLONE_NEWNS = 0x0002_0000
_TRIES = 50


def own_mounts() -> str:
    """Give this process a mount namespace of its own, so that its mounts vanish with it, however it ends.

    Call it before any thread is started. "" when that worked, else why not.
    """
    if not sys.platform.startswith("linux"):
        return "small disks are tmpfs mounts, on Linux only"
    if os.geteuid() != 0:
        return "small disks are tmpfs mounts, which only root can make"
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        return f"no mount namespace of our own: {os.strerror(ctypes.get_errno())}"
    return _command("mount", "--make-rprivate", "/")


class SmallDisk:
    """A tmpfs of so many bytes on a folder."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size

    def mount(self) -> str:
        """ "" when it is there, else why not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return _command("mount", "-t", "tmpfs", "-o", f"size={self.size},mode=755", "tmpfs", str(self.folder))

    def fill(self) -> None:
        """Nothing more can be written than fits into what is allocated already. Raises `OSError`."""
        for attempt in range(_TRIES):  # it grows while we look
            info = os.statvfs(self.folder)
            try:
                self._resize(max(1, info.f_blocks - info.f_bfree + attempt) * info.f_frsize)
            except OSError:
                if attempt == _TRIES - 1:
                    raise
            else:
                return

    def free(self) -> None:
        """There is room again. Raises `OSError`."""
        self._resize(self.size)

    def unmount(self) -> None:
        """Away with it, whoever still has files open there. Idempotent."""
        _command("umount", "-l", str(self.folder))

    def _resize(self, size: int) -> None:
        if problem := _command("mount", "-o", f"remount,size={size}", str(self.folder)):
            raise OSError(problem)


def _command(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{words[0]}: {error}"
    return "" if done.returncode == 0 else done.stderr.strip() or f"{' '.join(words)} failed with code {done.returncode}"
