"""LangGraph doing the bench's work in a process of its own. Runs under the peer's Python, and imports nothing of Waypost.

    python -P tests/bench/peer/langgraph_side.py POSTGRES_URL POOL_SIZE SAVERS GRAPH

Set up as LangGraph documents it for production: `AsyncPostgresSaver` on an `AsyncConnectionPool` with `autocommit`, prepared statements and
`dict_row`; async nodes; `durability="sync"`, which writes each checkpoint before the next node begins. uvloop, as in Waypost's services.

A saver holds a lock around each of its statements, so a pool behind one saver is used one connection at a time. With SAVERS above one there
are so many, each with the graph compiled for it, on the one pool, and runs go round them: more than the documents ask for, and faster.

GRAPH is `state`, two plain nodes over a state of three numbers, or `agent`, as its documents build an agent: a model node and a `ToolNode`
over `MessagesState`. The model is a function that asks for the tool at once; nothing waits for a network.

Orders come as lines of JSON on standard input, `{"runs": 600, "steps": 5, "at_once": 64}`; each is answered by a line on standard
output, `{"seconds": 1.5, "latencies_ms": […]}`. The first line out says that it is ready. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any, TypedDict

import uvloop
from langchain_core.messages import AIMessage, HumanMessage  # type: ignore[import-not-found]
from langchain_core.tools import tool  # type: ignore[import-not-found]
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # type: ignore[import-not-found]  # only the peer has these
from langgraph.graph import END, START, MessagesState, StateGraph  # type: ignore[import-not-found]
from langgraph.prebuilt import ToolNode, tools_condition  # type: ignore[import-not-found]
from psycopg.rows import dict_row  # type: ignore[import-not-found]
from psycopg_pool import AsyncConnectionPool  # type: ignore[import-not-found]

Run = Callable[[Any, int], Awaitable[float]]
PACKAGES = ("langgraph", "langgraph-checkpoint-postgres", "psycopg", "uvloop")


class State(TypedDict):
    """As small as Waypost's: how many steps to make, and how many were made."""

    steps: int
    number: int
    made: int


async def no_op(_state: State) -> dict[str, int]:
    """`ctx.step` of a no-op: its result is in the checkpoint."""
    return {"made": 1}


async def no_op_tool(state: State) -> dict[str, int]:
    """The tool call: it is given the number, and gives it back."""
    return {"number": state["number"] + 1}


def more(state: State) -> str:
    return "no_op" if state["number"] < state["steps"] else END


def compiled(saver: AsyncPostgresSaver) -> Any:
    """Step and tool in turn until there were enough: a checkpoint for the input, and one after each node."""
    graph = StateGraph(State)
    graph.add_node("no_op", no_op)
    graph.add_node("no_op_tool", no_op_tool)
    graph.add_edge(START, "no_op")
    graph.add_edge("no_op", "no_op_tool")
    graph.add_conditional_edges("no_op_tool", more, ["no_op", END])
    return graph.compile(checkpointer=saver)


@tool
async def no_op_call(number: int) -> int:
    """Gives the number back."""
    return number


async def model(state: MessagesState) -> dict[str, list[AIMessage]]:
    """A model that asks for the tool until there were enough calls, and then says so."""
    steps = int(state["messages"][0].content)
    made = len(state["messages"]) // 2
    if made >= steps:
        return {"messages": [AIMessage(content="done")]}
    call = {"name": "no_op_call", "args": {"number": made}, "id": f"call-{made}", "type": "tool_call"}
    return {"messages": [AIMessage(content="", tool_calls=[call])]}


def compiled_agent(saver: AsyncPostgresSaver) -> Any:
    """The agent of LangGraph's documents: a model that chooses tools, and a node that calls them."""
    graph = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tools", ToolNode([no_op_call]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=saver)


async def one_agent(graph: Any, steps: int) -> float:
    """One run of the agent from the question to its last message; milliseconds."""
    config = {"configurable": {"thread_id": str(uuid.uuid4())}, "recursion_limit": 2 * steps + 3}
    started = time.perf_counter()
    result = await graph.ainvoke({"messages": [HumanMessage(str(steps))]}, config, durability="sync")
    if len(result["messages"]) != 2 * steps + 2:
        raise RuntimeError(f"a run of {steps} steps ended with {result}")
    return 1e3 * (time.perf_counter() - started)


async def one(graph: Any, steps: int) -> float:
    """One run from its input to its result; milliseconds."""
    config = {"configurable": {"thread_id": str(uuid.uuid4())}, "recursion_limit": 2 * steps + 2}
    started = time.perf_counter()
    result = await graph.ainvoke({"steps": steps, "number": 0, "made": 0}, config, durability="sync")
    if result["number"] != steps:
        raise RuntimeError(f"a run of {steps} steps ended with {result}")
    return 1e3 * (time.perf_counter() - started)


GRAPHS = {"state": (compiled, one), "agent": (compiled_agent, one_agent)}


async def batch(run: Run, graphs: list[Any], *, runs: int, steps: int, at_once: int) -> dict[str, Any]:
    """So many runs, so many at once: a new one as each ends."""
    latencies: list[float] = []
    numbers = iter(range(runs))
    turns = itertools.cycle(graphs)

    async def in_turn() -> None:
        for _ in numbers:
            milliseconds = await run(next(turns), steps)
            latencies.append(milliseconds)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(runs, at_once)):
            group.create_task(in_turn())
    return {"seconds": time.perf_counter() - started, "latencies_ms": latencies}


async def serve(url: str, pool_size: int, savers: int, graph: str) -> None:
    """Until standard input ends."""
    build, run = GRAPHS[graph]
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(url, min_size=pool_size, max_size=pool_size, kwargs=options, open=False) as pool:
        await pool.wait()
        graphs = []
        for number in range(savers):
            saver = AsyncPostgresSaver(pool)
            if not number:
                await saver.setup()
            graphs.append(build(saver))
        answer({"ready": {name: version(name) for name in PACKAGES}})
        while line := await reader.readline():
            answer(await batch(run, graphs, **json.loads(line)))


def answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
