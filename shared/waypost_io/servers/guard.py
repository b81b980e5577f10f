"""Becomes a server process that cannot outlive the process that started it.

Run as a script (`python -I -S guard.py …`), not imported: it drops privileges, asks the kernel to signal it when its parent dies
(`PR_SET_PDEATHSIG`, Linux) and then executes the command in its own place, so that the pid stays the same. A `preexec_fn` would run
Python between fork and exec in a process with threads; this does not. Only the standard library, and little of it: it starts in 15 ms.

Arguments: parent pid, death signal, uid, gid (-1: keep), then the command.
"""

import os
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Drop privileges, bind to the parent's life, execute the command."""
    parent, signal_number, uid, gid = (int(value) for value in argv[:4])
    linux = sys.platform.startswith("linux")
    if linux:
        import ctypes  # before privileges are dropped: the other user may not read the standard library

        libc = ctypes.CDLL(None, use_errno=True)
    if gid >= 0:
        os.setgroups([])
        os.setgid(gid)
    if uid >= 0:
        os.setuid(uid)
    if linux:
        # after setuid, which clears the request
        if libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
            sys.exit(f"guard: prctl failed with errno {ctypes.get_errno()}")
        if os.getppid() != parent:  # it died before the request was in place
            sys.exit("guard: the parent process has died")
    os.execvp(argv[4], argv[4:])  # noqa: S606 - executing what the caller names is the purpose


if __name__ == "__main__":
    main(sys.argv[1:])
