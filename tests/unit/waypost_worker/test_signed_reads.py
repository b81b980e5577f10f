"""What a worker asks of the API carries its token's signature, where it was given one."""

from __future__ import annotations

from collections.abc import Mapping

from waypost_io.bus.ports import Message
from waypost_io.identity import Signer, new_token, verifies
from waypost_io.payloads import Payloads
from waypost_proto.codec import encode
from waypost_proto.ids import RunId, digest_of, uuid7
from waypost_proto.signing import AT_HEADER, KEY_HEADER, SIGNATURE_HEADER, signed_bytes
from waypost_proto.subjects import Subjects
from waypost_proto.values import BlobRef
from waypost_proto.work import JournalPage
from waypost_worker.journal import JournalReader

RUN = RunId(uuid7(1_700_000_000_000, bytes(10)))


class Bus:
    """Answers everything, and keeps what it was asked."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[tuple[str, bytes, Mapping[str, str]]] = []

    async def request(
        self, subject: str, body: bytes, *, headers: Mapping[str, str] | None = None, timeout_seconds: float = 5.0
    ) -> Message:
        self.asked.append((subject, body, headers or {}))
        return Message(subject="answer", body=self.answer, headers={}, reply="")


async def test_journals_and_payloads_are_asked_for_with_a_signature() -> None:
    token, key = new_token()
    signer = Signer(token)
    page = JournalPage(run_id=RUN, agent="desk", build="b", digest="", seen=0, last_seq=0, status="running", entries=[])
    for signs in (signer, None):
        bus = Bus(encode(page))
        await JournalReader(bus, Subjects(), Payloads(bus, Subjects()), signs).read(RUN)  # type: ignore[arg-type]
        other = Bus(b'"x"')
        payloads = Payloads(other, Subjects(), signer=signs)  # type: ignore[arg-type]
        ref = BlobRef(sha256=digest_of(b'"x"'), size=3)
        assert await payloads.fetch(ref) == b'"x"'
        assert await Payloads(other, Subjects(), cache_bytes=0).signed_by(signs).fetch(ref) == b'"x"'  # type: ignore[arg-type]
        asked = [*bus.asked, *other.asked]
        assert len(asked) == 3
        for subject, body, headers in asked:
            if signs is None:
                assert KEY_HEADER not in headers
            else:
                assert verifies(key, headers[SIGNATURE_HEADER], signed_bytes(subject, headers[AT_HEADER], body))
