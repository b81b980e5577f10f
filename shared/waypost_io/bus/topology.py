"""Which streams and consumers Waypost needs, with their bounds. Owns the configuration; `subjects` owns the names.

Every stream has bounds in bytes, and refuses new messages rather than dropping old ones where a message cannot be derived from
Postgres again. The server reserves `max_bytes` of every stream against its store limit, so their sum stays below 3 GiB.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from waypost_io.bus.ports import ConsumerSpec, StreamSpec
from waypost_proto.ids import WorkerId, check_name
from waypost_proto.limits import HEADER_ALLOWANCE_BYTES, MAX_DEAD_BYTES
from waypost_proto.subjects import ANY_WORKER, Subjects

MIB = 1 << 20
HOUR_SECONDS = 3_600.0

DUPLICATE_SECONDS = 60.0
"""Between our own services a publish is repeated within seconds (reconnect, take-over); the server keeps every id of the
window in memory, so it is no longer than that. Beyond it the run's own state tells duplicates (CORRECTNESS.md row 11)."""
CLIENT_DUPLICATE_SECONDS = 120.0
"""For tasks: a person's script may retry later than a service does."""

TASK_BYTES = 256 * MIB
"""Intake commits at once, worker or no worker, so tasks wait here only while every coordinator is down: 500 full-size
tasks, or half a million of 500 bytes. When it is full, publishers are told so."""
STORED_TASK_BYTES = MAX_DEAD_BYTES - HEADER_ALLOWANCE_BYTES
"""A task past `limits.MAX_MESSAGE_BYTES` is refused, but stored first, as far as the server's default payload goes: intake makes it
a dead letter with its reason. The stream's own refusal reaches nobody who publishes without asking for an answer."""
MAILBOX_BYTES = 512 * MIB
"""Advances and tool results of a coordinator's outage; senders keep what is not confirmed and publish it again."""
WORK_BYTES = 512 * MIB
"""Activations carry at most 320 KiB of entries; derivable from Postgres, so a full stream only delays."""
TOOL_BYTES = 512 * MIB
"""Calls that wait for a gateway; derivable from Postgres."""
EVENT_BYTES = 256 * MIB
"""A window for consumers that follow live: the log is in Postgres. Each run and type is a subject of its own, at 0.4 KiB
of server memory (probed): with events of 600 bytes this bounds that at about 170 MiB."""
EVENT_SECONDS = 72 * HOUR_SECONDS
"""A consumer that was down over a week-end catches up here; one that was down longer reads the log."""
SUPERVISOR_BYTES = 64 * MIB
SUPERVISOR_SECONDS = 14 * 24 * HOUR_SECONDS
"""Notices are rows in Postgres too; two weeks cover the absence of whoever is notified."""
DEAD_BYTES = 256 * MIB
DEAD_SECONDS = 30 * 24 * HOUR_SECONDS
"""Dead letters are rows in Postgres too, and these copies are for outside tools."""

WORK_ACK_SECONDS = 4.0
"""A worker says `in_progress` well within it; a dead worker's activation goes to another after it."""
TOOL_ACK_SECONDS = 4.0
"""A gateway heartbeats calls in progress; a dead gateway's call is taken up by another after it."""
MAIL_ACK_SECONDS = 30.0
"""A batch commits within milliseconds; longer than a Postgres fail-over, so that it does not redeliver in the middle of one."""
STICKY_INACTIVE_SECONDS = 60.0
"""A worker's own consumer goes when the worker has been gone for so long."""
MAIL_INACTIVE_SECONDS = 600.0
"""The consumer of an old lease epoch: its successor deletes it; this catches the one whose deletion was lost."""
INTAKE_ACK_SECONDS = 4.0
"""Tasks that a killed coordinator had in hand come to the next one after this: no epoch's consumer brings them at once."""
NOTICE_ACK_SECONDS = 30.0
"""Three times what one attempt may take."""
WORK_INACTIVE_SECONDS = 24 * HOUR_SECONDS
"""The consumers of builds that nobody runs any more go; their messages stay, and a worker that returns makes it again."""
QUEUE_CONSUMERS: Literal["file", "memory"] = "memory"
"""A queue holds exactly what nobody has acknowledged, so a consumer that is made again knows all that the old one knew, but for what is in
somebody's hands: that comes again, as after an ack wait. Windows (notices, webhooks) need files: only their consumers know who was told."""
TTL_HEADER = "Nats-TTL"
"""Header that gives a message a lifetime in whole seconds."""
KEPT = ("MAILBOX", "WORK", "TOOLS")
"""The work queues that every step goes through: none of them is ever empty (`waypost_coordinator.keeping`)."""


GROUPED = ("MAILBOX", "WORK", "TOOLS", "EVENTS")
"""What many messages are published to at once: after a commit, and by workers and gateways that answer many runs in one turn."""


def stream_specs(
    subjects: Subjects,
    *,
    partitions: int,
    replicas: int = 1,
    derivable_storage: Literal["file", "memory"] = "file",
) -> list[StreamSpec]:
    """All streams under one prefix. `derivable_storage`: where work and tool calls live; a wipe of either is made good from Postgres."""

    def queue(name: str, subject: str, max_bytes: int) -> StreamSpec:
        return StreamSpec(
            name=subjects.stream(name),
            subjects=(subject, subjects.keep(name)) if name in KEPT else (subject,),
            allow_message_ttl=name in KEPT,
            retention="work_queue",
            max_bytes=max_bytes,
            replicas=replicas,
            duplicate_window_seconds=DUPLICATE_SECONDS,
            allow_groups=name in GROUPED,
        )

    def window(name: str, subject: str, max_bytes: int, max_age_seconds: float) -> StreamSpec:
        return replace(queue(name, subject, max_bytes), retention="limits", discard="old", max_age_seconds=max_age_seconds)

    transform = (subjects.all_mail(), subjects.mail_transform(partitions))
    return [
        replace(
            queue("TASKS", subjects.all_tasks(), TASK_BYTES),
            duplicate_window_seconds=CLIENT_DUPLICATE_SECONDS,
            max_message_bytes=STORED_TASK_BYTES,
        ),
        replace(queue("MAILBOX", subjects.all_mail(), MAILBOX_BYTES), transform=transform),
        replace(queue("WORK", subjects.all_work(), WORK_BYTES), storage=derivable_storage),
        replace(queue("TOOLS", subjects.all_tools(), TOOL_BYTES), storage=derivable_storage),
        window("EVENTS", subjects.all_events(), EVENT_BYTES, EVENT_SECONDS),
        window("SUPERVISOR", subjects.all_supervisor(), SUPERVISOR_BYTES, SUPERVISOR_SECONDS),
        replace(window("DEAD", subjects.all_dead(), DEAD_BYTES, DEAD_SECONDS), max_message_bytes=MAX_DEAD_BYTES),
    ]


def tasks_consumer(subjects: Subjects) -> ConsumerSpec:
    """Intake: one consumer that every coordinator replica pulls, because a task belongs to no partition yet."""
    return ConsumerSpec(
        stream=subjects.stream("TASKS"),
        name="intake",
        filter_subject=subjects.all_tasks(),
        ack_wait_seconds=INTAKE_ACK_SECONDS,
        storage=QUEUE_CONSUMERS,
    )


def notices_consumer(subjects: Subjects, outlet: str) -> ConsumerSpec:
    """Notices for one way out (`webhook`, `apprise`): one consumer that every coordinator replica pulls."""
    return ConsumerSpec(
        stream=subjects.stream("SUPERVISOR"), name=outlet, filter_subject=subjects.all_supervisor(), ack_wait_seconds=NOTICE_ACK_SECONDS
    )


def webhook_consumer(subjects: Subjects, name: str) -> ConsumerSpec:
    """Events for one subscription of webhooks: one consumer that every edge pulls. It begins with what happens after it was made."""
    return ConsumerSpec(
        stream=subjects.stream("EVENTS"),
        name=f"webhook-{name}",
        filter_subject=subjects.all_events(),
        ack_wait_seconds=NOTICE_ACK_SECONDS,
        new_only=True,
    )


def mail_consumer(subjects: Subjects, partition: int, epoch: int) -> ConsumerSpec:
    """A partition's mail under one lease epoch. Consumers of a work queue must not overlap: delete the epoch before first."""
    return ConsumerSpec(
        stream=subjects.stream("MAILBOX"),
        name=subjects.mail_consumer(partition, epoch),
        filter_subject=subjects.mail_partition(partition),
        ack_wait_seconds=MAIL_ACK_SECONDS,
        storage=QUEUE_CONSUMERS,
        inactive_seconds=MAIL_INACTIVE_SECONDS,
    )


def tool_consumer(subjects: Subjects, tool: str) -> ConsumerSpec:
    """A tool's calls, shared by every gateway that hosts it."""
    return ConsumerSpec(
        stream=subjects.stream("TOOLS"),
        name=f"tool-{check_name('tool', tool)}",
        filter_subject=subjects.tool(tool),
        ack_wait_seconds=TOOL_ACK_SECONDS,
        storage=QUEUE_CONSUMERS,
    )


def work_consumer(subjects: Subjects, agent: str, build: str) -> ConsumerSpec:
    """Activations of an agent's build for whichever worker comes first; shared by all that host it.

    Names hold no '_', so it separates them without ambiguity.
    """
    return ConsumerSpec(
        stream=subjects.stream("WORK"),
        name=f"{ANY_WORKER}_{check_name('agent', agent)}_{check_name('build', build)}",
        filter_subject=subjects.work(agent, build),
        ack_wait_seconds=WORK_ACK_SECONDS,
        storage=QUEUE_CONSUMERS,
        inactive_seconds=WORK_INACTIVE_SECONDS,
    )


def sticky_consumer(subjects: Subjects, worker: WorkerId) -> ConsumerSpec:
    """Activations of every agent and build for this very worker. It does not overlap with `any`: the last token differs."""
    return ConsumerSpec(
        stream=subjects.stream("WORK"),
        name=f"sticky-{check_name('worker', worker)}",
        filter_subject=subjects.work("*", "*", worker),
        ack_wait_seconds=WORK_ACK_SECONDS,
        storage=QUEUE_CONSUMERS,
        inactive_seconds=STICKY_INACTIVE_SECONDS,
    )
