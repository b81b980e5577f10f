"""What the loop raises into the code that runs on it, and at whoever drives it."""

from __future__ import annotations

from waypost_proto.errors import PermanentError


class NotInAgentCode(PermanentError):
    """The code asked the loop for I/O, a thread or a process: it would not replay."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not available in an agent's code, because it would not replay: put I/O, threads and whatever takes time "
            "into a function and run it with `await ctx.step(function, …)`, or make it a tool"
        )


class AgentSpins(PermanentError):
    """One feed ran more callbacks than any agent needs: the code loops without waiting for anything."""

    def __init__(self, limit: int, where: str) -> None:
        super().__init__(
            f"the agent's code ran {limit} callbacks without waiting for anything from outside (last: {where}): it spins; "
            "wait for a call, a timer or a signal instead of polling with sleep(0)"
        )


class Evicted(GeneratorExit):
    """Raised into code that is being closed when it asks for something. Like `GeneratorExit`, it is not an error."""
