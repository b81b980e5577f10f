"""`python -m tests.fake_provider [--port N] [--seconds S] [--text T]`: serve until killed; the first line printed is the address."""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.fake_provider import FakeProvider, Reply


async def _serve(options: argparse.Namespace) -> None:
    reply = Reply(text=options.text, delay=options.seconds, pieces=options.pieces)
    async with FakeProvider(usual=reply, port=options.port) as provider:
        sys.stdout.write(provider.url + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--text", default="A usual answer.")
    parser.add_argument("--pieces", type=int, default=3)
    asyncio.run(_serve(parser.parse_args()))
