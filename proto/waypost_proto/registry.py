"""What workers and gateways say of themselves. The coordinator decides by it and never imports user code.

`waypost.registry.announce` is a request that is answered when the definitions are committed; heartbeats are
core NATS and say only who lives and what it holds for longer than one heartbeat.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw

from waypost_proto.ids import RunId
from waypost_proto.usage import LoopLimits, Rung, Usage
from waypost_proto.values import AtLeastOne, Breaker, Budget, Effect, NonNegative, Positive, Rate, Retry, Token, Value

HEARTBEAT_SECONDS = 1.0
"""How often a worker or gateway says that it lives."""
LOST_AFTER_SECONDS = 3.5
"""After this long without a heartbeat a peer counts as dead: three heartbeats and some slack."""


class AgentDefinition(Value, frozen=True, kw_only=True):
    """A named agent as one build defines it. `tools` and `agents` are its allow-lists."""

    name: str
    build: str
    version: str = "1"
    description: str = ""
    kind: Literal["function", "reasoning", "langgraph", "remote"] = "function"
    input_schema: Raw = Raw(b"{}")
    output_schema: Raw = Raw(b"{}")
    tools: list[str] = []
    agents: list[str] = []
    budget: Budget | None = None
    open_budget: bool = False
    """A task may set limits above those of `budget`."""
    loops: LoopLimits | None = None
    """None: what is usual for its kind (checked where a model decides, not where plain code does)."""
    ladder: list[Rung] = []


class ToolDefinition(Value, frozen=True, kw_only=True):
    """A tool as its gateway hosts it."""

    name: str
    effect: Effect
    build: str = ""
    description: str = ""
    args_schema: Raw = Raw(b"{}")
    result_schema: Raw = Raw(b"{}")
    retry: Retry = Retry()
    timeout_seconds: Positive = 30.0
    reconcile: bool = False
    concurrency: AtLeastOne = 64
    rate: Rate | None = None
    breaker: Breaker | None = None
    taint: tuple[str, ...] = ()
    max_result_bytes: AtLeastOne | None = None
    settle_seconds: NonNegative | None = None
    answers_digest: bool = False
    """Its answers carry `call_digest`. Then a read may be on its way while the commit that requests it is still under way."""
    reserve: Usage | None = None
    """What one attempt may use at most: reserved before it is sent."""


class Announce(Value, frozen=True, kw_only=True):
    """A peer introduces itself; repeated at reconnect and whenever what it hosts changes."""

    peer: str
    kind: Literal["worker", "gateway"]
    build: str
    agents: list[AgentDefinition] = []
    tools: list[ToolDefinition] = []
    concurrency: AtLeastOne = 64
    frames: bool = False
    """Of a worker: as in its heartbeats."""


class Announced(Value, frozen=True, kw_only=True):
    """The answer to `Announce`; `error` says what could not be accepted (and nothing of it was)."""

    ok: bool
    error: str = ""


class Held(Value, frozen=True, array_like=True):
    """An activation that a worker has held for longer than one heartbeat."""

    run_id: RunId
    token: Token


News = Literal["here", "released", "leaving"]


class Presence(Value, frozen=True, kw_only=True):
    """A coordinator to its replicas, on `waypost.coordinators.presence` (core NATS): it lives, it gave partitions back, or it goes."""

    name: str
    news: News = "here"


class Heartbeat(Value, frozen=True, kw_only=True):
    """On `waypost.registry.heartbeat`. `draining`: send nothing new; `stopped`: the peer is gone for good."""

    peer: str
    kind: Literal["worker", "gateway"]
    build: str
    names: list[str] = []
    held: list[Held] = []
    state: Literal["ready", "draining", "stopped"] = "ready"
    busy: int = 0
    """Of a worker: runs that it worked on in the last second or so. One that is much busier than others like it is relieved of some."""
    frames: bool = False
    """Of a worker: it takes several activations in one message (`ActivationFrame`)."""


class BreakerNews(Value, frozen=True, kw_only=True):
    """The breaker of one tool, as a gateway knows it. `until` (Unix seconds by the database's clock): when an open one lets a call through.

    `probe`: the gateway whose call a half-open breaker waits for. Of two reports the one with the later `at` counts.
    """

    tool: str
    state: Literal["closed", "open", "half_open"]
    at: float
    until: float = 0.0
    reason: str = ""
    probe: str = ""


class GatewayNews(Value, frozen=True, kw_only=True):
    """A gateway to the others, on `waypost.registry.gateways` (core NATS): it lives, hosts these tools, and knows these breakers.

    Sent every second by gateways that host a tool with a rate or a breaker, at once when a breaker changes, and in answer to `news`
    `hello`; so a gateway that joins knows within a moment how many share a rate, and which breakers are open.
    """

    gateway: str
    news: Literal["hello", "here", "leaving"] = "here"
    tools: list[str] = []
    breakers: list[BreakerNews] = []


class ConsumerAsked(Value, frozen=True, kw_only=True):
    """A peer in an account of its own asks for a consumer: it may pull it, and neither make it nor look at it.

    With `ack_wait_seconds` it is made where it is not there.
    """

    stream: str
    name: str
    ack_wait_seconds: Positive | None = None


class ConsumerTold(Value, frozen=True, kw_only=True):
    """When the consumer was created, which is its identity; None when it is not there. `retry`: the error passes."""

    created: str | None = None
    error: str = ""
    retry: bool = False
