"""A client that answers what a test says and records what it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Self

from waypost_proto.api import RunAnswer, RunView
from waypost_proto.events import Event

RUN = "0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55"


class FakeClient:
    """`answers` is by method name; an exception is raised. `asked` is (method, positional, keyword arguments)."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.stream: list[Event] = []
        self.unreachable: Exception | None = None

    async def __aenter__(self) -> Self:
        if self.unreachable is not None:
            raise self.unreachable
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    def __getattr__(self, method: str) -> Any:
        async def ask(*args: Any, **kwargs: Any) -> Any:
            self.asked.append((method, args, kwargs))
            answer = self.answers.get(method, RunAnswer(run_id=RUN, status="pending"))
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask

    async def events(self, run_id: str, *, after: int = 0, follow: bool = False) -> AsyncGenerator[Event, None]:
        self.asked.append(("events", (run_id,), {"after": after, "follow": follow}))
        for event in self.stream:
            if event.seq > after:
                yield event


def view(**more: Any) -> RunView:
    return RunView(**{"run_id": RUN, "agent": "desk", "status": "completed", **more})
