"""`python -m tests.browser --port 8430`: the lending desk with its console, to look at, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from pathlib import Path

from tests.browser.platform import platform
from tests.browser.scenes import everything


async def serve(port: int, folder: Path) -> None:
    """Start it, let a little of everything happen, and wait."""
    async with platform(folder, port=port) as desk:
        scenes = await everything(desk)
        print(f"{desk.url} {scenes}", flush=True)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.browser", description=__doc__)
    parser.add_argument("--port", type=int, default=8430)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waypost-console-") as folder:
        Path(folder).chmod(0o755)
        asyncio.run(serve(options.port, Path(folder)))


if __name__ == "__main__":
    main()
