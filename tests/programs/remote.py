"""The other side of `hosts.Elsewhere`: holds executions for a world in another process, until its standard input ends."""

from __future__ import annotations

import sys

from tests.programs.campaign import quiet
from tests.programs.hosts import Here, Request, receive, send


def main() -> None:
    pipe, host = sys.stdout.buffer, Here()
    sys.stdout = sys.stderr  # whatever prints must not reach the pipe
    send(pipe, host.name)
    with quiet():
        while True:
            try:
                request = receive(sys.stdin.buffer, Request)
            except EOFError:
                return
            send(pipe, host.ask(request.number, request.order))


if __name__ == "__main__":
    main()
