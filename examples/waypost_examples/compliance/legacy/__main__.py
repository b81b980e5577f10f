"""Starts one legacy HTTP service: `python -m waypost_examples.compliance.legacy sanctions --port 9001`. Runs until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from waypost_examples.compliance.legacy.http import Handler, serve
from waypost_examples.compliance.legacy.kyc import Kyc
from waypost_examples.compliance.legacy.regulator import Regulator
from waypost_examples.compliance.legacy.sanctions import Sanctions


def handler_of(service: str, file: Path | None, seed: int) -> Handler:
    """The handler of a service by name; `kyc` and `regulator` need a file."""
    if service == "sanctions":
        return Sanctions(seed)
    if file is None:
        raise SystemExit(f"{service} keeps its data in a SQLite file: give --file PATH")
    return Kyc(file, seed) if service == "kyc" else Regulator(file, seed)


async def run(service: str, port: int, file: Path | None, seed: int) -> None:
    """Serve until told to stop."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await serve(handler_of(service, file, seed), "127.0.0.1", port)
    sys.stdout.write(f"{service} listens on {server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await stopped.wait()
    server.close()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m waypost_examples.compliance.legacy", description=__doc__)
    parser.add_argument("service", choices=("sanctions", "kyc", "regulator"))
    parser.add_argument("--port", type=int, default=0, help="0 (the default): any free port, printed at start")
    parser.add_argument("--file", type=Path, help="SQLite file of kyc and regulator")
    parser.add_argument("--seed", type=int, default=0, help="which requests fail")
    options = parser.parse_args()
    asyncio.run(run(options.service, options.port, options.file, options.seed))


if __name__ == "__main__":
    main()
