"""A deterministic asyncio event loop for agents' code: pure, no I/O, no clock, no threads, no randomness.

It is fed from outside (a timer fired, a future got its result) and then runs until nothing is ready. The same feeds
in the same order run the same callbacks in the same order, in every process and on every supported Python, which is
what makes replay possible (CORRECTNESS.md rows 5 and 18). Depends on the standard library and `waypost_proto.errors`.

    loop = DeterministicLoop(hooks, seed="run id")
    root = loop.start(coroutine)
    loop.run_until_quiescent()          # … then set results, fire timers, and run again
    loop.close()                        # muted: what the code still does has no effect
"""

from waypost_core.loop._errors import AgentSpins, Evicted, NotInAgentCode
from waypost_core.loop._loop import DeterministicLoop, LoopHooks
from waypost_core.loop._tasks import Future, Task

__all__ = ["AgentSpins", "DeterministicLoop", "Evicted", "Future", "LoopHooks", "NotInAgentCode", "Task"]
