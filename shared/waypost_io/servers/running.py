"""How one terminal finds the `waypost dev` of another: a file in its data directory, and a lock that lives as long as its process.

running = find_running(settings.data_dir)
if running is not None: connect(running.nats_url)
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from waypost_proto.errors import Misconfigured

_FILE = "dev.json"
_LOCK = "dev.lock"


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A `waypost dev` and its servers."""

    pid: int
    nats_url: str
    postgres_url: str
    prefix: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables that let a command talk to it."""
        return {"WAYPOST_NATS_URL": self.nats_url, "WAYPOST_POSTGRES_URL": self.postgres_url, "WAYPOST_PREFIX": self.prefix}


@contextmanager
def claimed(data_dir: Path) -> Iterator[None]:
    """Hold the data directory: two sets of servers on the same files would destroy them.

    The lock ends with the process, however that ends. Raises `Misconfigured` when somebody else holds it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(data_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            last = last_known(data_dir)
            raise Misconfigured(
                f"another Waypost{f' (pid {last.pid})' if last else ''} uses {data_dir}: "
                "stop it, or set WAYPOST_DATA_DIR to another directory"
            ) from error
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def publish(data_dir: Path, running: Running) -> None:
    """Write the file, atomically, readable for its owner alone (URLs may hold passwords)."""
    path = data_dir / f"{_FILE}.new"
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(running))
    path.replace(data_dir / _FILE)


def last_known(data_dir: Path) -> Running | None:
    """What the last one wrote, running or not (its ports are worth using again)."""
    try:
        return msgspec.json.decode((data_dir / _FILE).read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None


def find_running(data_dir: Path) -> Running | None:
    """The one that runs now on this data directory, if there is one and it is ready."""
    try:
        descriptor = os.open(data_dir / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(descriptor, 32).decode(errors="replace")
        running = last_known(data_dir)
        # until it is ready, the file is still the one of its predecessor
        return running if running is not None and str(running.pid) == owner else None
    finally:
        os.close(descriptor)
    return None
