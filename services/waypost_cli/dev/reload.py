"""Notices changes of the user's source files, by looking at their times and sizes twice a second."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from waypost_proto.errors import Misconfigured

POLL_SECONDS = 0.5
MAX_FILES = 5_000

Snapshot = dict[Path, tuple[int, int]]


def sources(module: str, folder: Path | None = None) -> list[Path]:
    """Where the code of MODULE lies: a `.py` file and its neighbours, or all of a package. Imports only what encloses it.

    `folder` is where names are looked for first (default: the current directory). Raises `Misconfigured` when there is no such module.
    """
    base = Path.cwd() if folder is None else folder
    if module.endswith(".py"):
        path = base / module
        if not path.is_file():
            raise Misconfigured(f"no file {module!r} in {base}: give a .py file, or an importable module name")
        return [path.resolve().parent]
    local = base.joinpath(*module.split("."))
    if local.with_suffix(".py").is_file():
        return [local.parent.resolve()]
    if (local / "__init__.py").is_file():
        return [local.resolve()]
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise Misconfigured(
            f"no module {module!r} in {base} or on the path: "
            "give an importable name such as 'my_package.agents', or a file such as 'agents.py'"
        )
    return [Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)]


def snapshot(roots: Sequence[Path]) -> Snapshot:
    """Time and size of each source file; of a folder the files in it, of a package (it has `__init__.py`) all below."""
    found: Snapshot = {}
    for root in roots:
        pattern = "**/*.py" if (root / "__init__.py").exists() else "*.py"
        for path in [root] if root.is_file() else root.glob(pattern):
            try:
                status = path.stat()
            except OSError:
                continue  # removed in between: it is missing in the snapshot, which is a change
            found[path] = (status.st_mtime_ns, status.st_size)
            if len(found) >= MAX_FILES:
                return found
    return found


async def watch(roots: Sequence[Path], on_change: Callable[[list[Path]], Awaitable[None]], *, poll_seconds: float = POLL_SECONDS) -> None:
    """Call `on_change` with the files that changed, once they stand still for one look; until cancelled.

    Changes during `on_change` are seen after it.
    """
    before = snapshot(roots)
    while True:
        await asyncio.sleep(poll_seconds)
        now = await asyncio.to_thread(snapshot, roots)
        if now == before:
            continue
        while True:  # an editor may still be writing
            await asyncio.sleep(poll_seconds / 5)
            settled = await asyncio.to_thread(snapshot, roots)
            if settled == now:
                break
            now = settled
        changed = sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
        before = now
        if changed:
            await on_change(changed)
