"""`waypost nats-config POOLS --out DIR`: writes the server's configuration and, for each user, a seed and an environment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from waypost_cli.nats_config.accounts import AUDIT, COORDINATOR, accounts, inbox_of, users_of
from waypost_cli.output import say
from waypost_proto.errors import BadInput

Out = Annotated[Path, Parameter(name="--out", help="The folder to write into; it is made if it is not there.")]
CONFIG = "waypost-accounts.conf"


async def nats_config(pools: Path, /, *, out: Out) -> None:
    """Write accounts and users with least-privilege permissions for a NATS server.

    POOLS is the file that says which agents and tools each pool of workers or gateways may host (docs/nats-permissions.md). Written are
    an include for the server's configuration, and for each user NAME.nk (its secret key, mode 0600) and NAME.env (the settings of its
    processes). Keys that are there are kept: run it again for new builds or pools, and reload the server.
    """
    from waypost_io.pools import read_pools
    from waypost_io.settings import Settings, load

    known = read_pools(pools)
    taken = {COORDINATOR, AUDIT, "client"} & known.keys()
    if taken:
        raise BadInput(f"a pool cannot be named {', '.join(sorted(taken))}: that is a user of Waypost's own")
    out.mkdir(parents=True, exist_ok=True)
    keys = {user: _key(out / f"{user}.nk") for user in users_of(known)}
    block = accounts(load(Settings).subjects, known, keys)
    _write(out / CONFIG, "".join(f"{json.dumps(name)}: {json.dumps(value, indent=2)}\n" for name, value in {"accounts": block}.items()))
    for user in users_of(known):
        _write(out / f"{user}.env", _environment(user, out, pools, pooled=user in known))
    say(f"{out / CONFIG}: include it in the server's configuration, and reload the server")
    for user in users_of(known):
        say(f"{user}: {out / f'{user}.nk'} and {out / f'{user}.env'}")


def _environment(user: str, out: Path, pools: Path, *, pooled: bool) -> str:
    lines = [f"WAYPOST_NATS_CREDS={(out / f'{user}.nk').absolute()}", f"WAYPOST_NATS_INBOX={inbox_of(user)}"]
    if pooled:
        lines.append(f"WAYPOST_NATS_POOL={user}")
    if user == COORDINATOR:
        lines.append(f"WAYPOST_NATS_POOLS_FILE={pools.absolute()}")
    return "\n".join(lines) + "\n"


def _key(path: Path) -> str:
    """The public key of a seed that is there, or of a new one."""
    from waypost_io.identity import Signer, new_token

    if path.exists():
        return Signer(path.read_text(encoding="utf-8")).key
    seed, key = new_token()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(seed + "\n")
    return key


def _write(path: Path, text: str) -> None:
    """In one step, so that a server that reloads meanwhile reads the old file or the new one."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
