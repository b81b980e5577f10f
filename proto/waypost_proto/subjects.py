"""Every subject, stream and consumer name, built here and nowhere else. Owns the naming, not the configuration.

`Subjects(prefix)` is the one object that knows the prefix (`WAYPOST_PREFIX`, default `waypost`); stream names are
the prefix in upper case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from waypost_proto.errors import Misconfigured
from waypost_proto.ids import RunId, check_name

_PREFIX = re.compile(r"[a-z0-9_-]{1,32}")

STREAMS = ("TASKS", "MAILBOX", "WORK", "TOOLS", "EVENTS", "SUPERVISOR", "DEAD")
MAIL_KINDS = ("advance", "result", "control")
ANY_WORKER = "any"
"""The last token of a work subject when the activation is for whichever worker comes first."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """All names under one prefix. Raises `Misconfigured` for a prefix that could not be a subject token."""

    prefix: str = "waypost"

    def __post_init__(self) -> None:
        if _PREFIX.fullmatch(self.prefix) is None:
            raise Misconfigured(f"prefix {self.prefix!r}: use 1 to 32 of the characters a-z, 0-9, '_' and '-'")

    # -- streams

    def stream(self, name: str) -> str:
        """`stream("TASKS")` is `WAYPOST_TASKS` under the default prefix."""
        return f"{self.prefix.upper().replace('-', '_')}_{name}"

    def keep(self, name: str, replica: str = "*") -> str:
        """Where the message of a coordinator lies that keeps a busy work queue from being empty between two steps. Nobody reads it."""
        return f"{self.prefix}.keep.{name.lower()}.{replica}"

    def task(self, agent: str) -> str:
        return f"{self.prefix}.tasks.{check_name('agent', agent)}"

    def all_tasks(self) -> str:
        """Every depth, so that a task on an illegal subject is caught and dead-lettered instead of refused silently."""
        return f"{self.prefix}.tasks.>"

    def agent_of_task(self, subject: str) -> str:
        """The agent token(s) of a task subject, unchecked."""
        return subject[len(self.prefix) + len(".tasks.") :]

    def mail(self, kind: str, name: str, run_id: RunId) -> str:
        return f"{self.prefix}.mailbox.{kind}.{name}.{run_id}"

    def all_mail(self) -> str:
        return f"{self.prefix}.mailbox.*.*.*"

    def mail_transform(self, partitions: int) -> str:
        """Destination of the mailbox stream's subject transform: the partition of the run id comes in front."""
        return f"{self.prefix}.mailbox.{{{{partition({partitions},3)}}}}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.{{{{wildcard(3)}}}}"

    def mail_partition(self, partition: int) -> str:
        """Filter of one partition's consumer."""
        return f"{self.prefix}.mailbox.{partition}.>"

    def mail_consumer(self, partition: int, epoch: int) -> str:
        """A consumer of its own per (partition, lease epoch): CORRECTNESS.md row 9."""
        return f"mailbox-{partition}-{epoch}"

    def work(self, agent: str, build: str, worker: str = ANY_WORKER) -> str:
        return f"{self.prefix}.work.{agent}.{build}.{worker}"

    def all_work(self) -> str:
        return f"{self.prefix}.work.*.*.*"

    def tool(self, tool: str) -> str:
        return f"{self.prefix}.tools.{check_name('tool', tool)}"

    def all_tools(self) -> str:
        return f"{self.prefix}.tools.*"

    def event(self, agent: str, run_id: RunId, event_type: str) -> str:
        return f"{self.prefix}.events.{agent}.{run_id}.{event_type}"

    def all_events(self) -> str:
        return f"{self.prefix}.events.>"

    def run_events(self, run_id: RunId) -> str:
        return f"{self.prefix}.events.*.{run_id}.*"

    def supervisor(self, agent: str) -> str:
        return f"{self.prefix}.supervisor.{agent}"

    def all_supervisor(self) -> str:
        return f"{self.prefix}.supervisor.*"

    def dead(self, origin: str) -> str:
        """`origin` is a stream's short name in lower case: tasks, mailbox, work, tools."""
        return f"{self.prefix}.dead.{origin}"

    def all_dead(self) -> str:
        return f"{self.prefix}.dead.*"

    # -- core NATS

    def tokens(self, run_id: RunId) -> str:
        """Model tokens as they arrive."""
        return f"{self.prefix}.stream.{run_id}"

    def all_tokens(self) -> str:
        return f"{self.prefix}.stream.*"

    def confirm(self, worker: str) -> str:
        return f"{self.prefix}.confirm.{worker}"

    def stop(self) -> str:
        return f"{self.prefix}.stop"

    def announce(self) -> str:
        return f"{self.prefix}.registry.announce"

    def consumer(self) -> str:
        """A peer in an account of its own asks for a consumer; a coordinator hears it as `pool(…, "consumer")`."""
        return f"{self.prefix}.registry.consumer"

    def pool(self, pool: str, verb: str) -> str:
        """What a pool's account says, as a coordinator hears it: NATS puts the pool in, so that it is known who speaks."""
        return f"{self.prefix}.pool.{pool}.{verb}"

    def heartbeat(self) -> str:
        return f"{self.prefix}.registry.heartbeat"

    def roll_call(self) -> str:
        """A new coordinator asks every peer to announce itself."""
        return f"{self.prefix}.registry.roll-call"

    def gateways(self) -> str:
        """Between gateways: who lives and hosts what, and which tools' breakers are open. Coordinators listen, to show it."""
        return f"{self.prefix}.registry.gateways"

    def definitions_changed(self) -> str:
        """A replica committed definitions: the others load them again. The body, the names as a JSON array, is for people."""
        return f"{self.prefix}.registry.changed"

    def broadcast(self) -> str:
        """To every coordinator replica (redispatch)."""
        return f"{self.prefix}.coordinators"

    def presence(self) -> str:
        """Between coordinator replicas: who lives."""
        return f"{self.prefix}.coordinators.presence"

    def api(self, noun: str, verb: str) -> str:
        return f"{self.prefix}.api.{noun}.{verb}"
