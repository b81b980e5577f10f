"""What these NATS credentials may do. It is tried with messages that change nothing: who waits for an answer hears of no denial."""

from __future__ import annotations

import asyncio
import re
import ssl

from waypost_cli.doctor.report import Finding, failure, ok
from waypost_io.settings import Settings

_DENIED = re.compile(r"permissions violation for (publish|subscription) to [\"']?([^\"'\s]+)", re.IGNORECASE)
_SECONDS = 3


async def check_rights(settings: Settings) -> list[Finding]:
    """Publish and subscribe to what every command and every service needs; say each subject that is denied."""
    import nats
    from nats.errors import Error as NatsError

    said: list[str] = []

    async def heard(error: Exception) -> None:
        said.append(str(error))

    tls = ssl.create_default_context(cafile=str(settings.nats_ca)) if settings.nats_ca is not None else None
    try:
        connection = await nats.connect(
            [part.strip() for part in settings.nats_url.split(",")],
            user_credentials=None if settings.nats_creds is None else str(settings.nats_creds),
            tls=tls,
            connect_timeout=_SECONDS,
            allow_reconnect=False,
            error_cb=heard,
            name="waypost-doctor-rights",
        )
    except (NatsError, OSError, TimeoutError):
        return []  # said by who connects after us
    inbox = f"{settings.nats_inbox or '_INBOX'}.doctor.x"
    try:
        for subject in (inbox, settings.subjects.all_events()):
            await connection.subscribe(subject)
        for subject, body in _asked(settings):
            await connection.publish(subject, body, reply=inbox)
        for _ in range(2):  # nats-py writes the PING of the first ahead of what is queued: its answer says nothing of that
            await connection.flush(_SECONDS)
        await asyncio.sleep(0)
    except (NatsError, OSError, TimeoutError):
        pass  # a server may end the connection of who is denied; what it said before is what matters
    finally:
        await connection.close()
    written = {subject.lower(): subject for subject in (inbox, settings.subjects.all_events(), *dict(_asked(settings)))}
    denied = sorted({f"{kind.lower()} {written.get(subject.lower(), subject)}" for text in said for kind, subject in _DENIED.findall(text)})
    if not denied:
        return [ok("nats rights", "everything that was tried is allowed")]
    mend = "give the user of these credentials that permission: `waypost nats-config` writes them, docs/nats-permissions.md says why"
    return [failure("nats rights", f"denied: {', '.join(denied)}", mend)]


def _asked(settings: Settings) -> list[tuple[str, bytes]]:
    subjects = settings.subjects
    asked = [(subjects.api("agents", "list"), b"{}"), ("$SRV.PING.waypost", b"")]
    if settings.nats_pool:  # an account of its own asks a coordinator for consumers, and JetStream for nothing
        return asked
    return [*asked, ("$JS.API.INFO", b""), (f"$JS.API.STREAM.INFO.{subjects.stream('TASKS')}", b"")]
