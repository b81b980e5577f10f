"""What somebody who watches is shown: the newest attempt, restarts and gaps marked, and the recorded answer once."""

from __future__ import annotations

import random

from msgspec import Raw

from tests.unit.waypost.models.world import RUN
from waypost.models import AssistantMessage, ModelResponse
from waypost.streamed import Preview, Streamed, text_of_answer
from waypost_cli.tokens_shown import TokenWriter
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.events import Event
from waypost_proto.ids import CallId
from waypost_proto.models import ModelCall
from waypost_proto.streams import AnyStreamed, Piece, StreamEnded, StreamPieces, StreamStarted, TextPiece, ToolPiece
from waypost_proto.values import Failure, Token

CALL = CallId("0:1")


def started(attempt: str, *, counter: int = 1, number: int = 1, call: CallId = CALL) -> StreamStarted:
    return StreamStarted(run_id=RUN, call_id=call, attempt=attempt, token=Token(epoch=1, counter=counter), number=number, model="m")


def pieces(attempt: str, seq: int, *texts: str | Piece, call: CallId = CALL) -> StreamPieces:
    made: list[Piece] = [TextPiece(text=text) if isinstance(text, str) else text for text in texts]
    return StreamPieces(run_id=RUN, call_id=call, attempt=attempt, seq=seq, pieces=made)


def ended(attempt: str, seq: int, error: str = "") -> StreamEnded:
    failure = Failure(type=error, message="no") if error else None
    return StreamEnded(run_id=RUN, call_id=CALL, attempt=attempt, seq=seq, error=failure)


def event(data: ev.AnyData, seq: int = 5) -> Event:
    kind = str(data.__struct_config__.tag)
    return Event(run_id=RUN, seq=seq, type=kind, agent="a", correlation_id="c", recorded_at="2026-11-22T12:00:00Z", data=Raw(encode(data)))


def answered(text: str) -> Event:
    result = Raw(encode(ModelResponse(message=AssistantMessage(text=text))))
    return event(
        ev.StepCompleted(call_id=CALL, name="generate", at=1.0, result=result, seen=1, model=ModelCall(model="m", answered_by="m-1"))
    )


def told(*messages: AnyStreamed | Event, preview: Preview | None = None) -> list[str]:
    """Kinds and texts, in short."""
    fold = preview or Preview()
    items: list[Streamed] = []
    for message in messages:
        items += fold.settle(message) if isinstance(message, Event) else fold.take(message)
    return [f"{item.kind}:{item.text}" if item.text else item.kind for item in items]


def test_an_answer_as_it_comes() -> None:
    assert told(started("a"), pieces("a", 1, "Par"), pieces("a", 2, "is"), ended("a", 3), answered("Paris")) == [
        "started",
        "text:Par",
        "text:is",
        "answered:Paris",
    ]


def test_another_request_makes_void_what_was_shown() -> None:
    first = (started("a"), pieces("a", 1, "Lon"), ended("a", 2, "ModelCut"))
    again = (started("b", number=2), pieces("b", 1, "Paris"), ended("b", 2), answered("Paris"))
    assert told(*first, *again) == ["started", "text:Lon", "broken", "restarted", "text:Paris", "answered:Paris"]


def test_another_worker_after_a_crash() -> None:
    crashed = (started("a"), pieces("a", 1, "Pa"))
    assert told(*crashed, started("b", counter=2), pieces("b", 1, "Paris"), pieces("a", 2, "ris")) == [
        "started",
        "text:Pa",
        "restarted",
        "text:Paris",
    ]


def test_a_worker_that_was_replaced_is_not_shown_again() -> None:
    new = (started("b", counter=2), pieces("b", 1, "Paris"))
    assert told(*new, started("a2", counter=1, number=2), pieces("a2", 1, "London")) == ["started", "text:Paris"]


def test_after_the_answer_nothing_of_the_call_is_shown() -> None:
    assert told(started("a"), answered("Paris"), pieces("a", 1, "Paris"), started("z", counter=9), ended("a", 2)) == [
        "started",
        "answered:Paris",
    ]


def test_who_comes_late_sees_that_something_is_missing() -> None:
    assert told(pieces("a", 4, "ris"), pieces("a", 5, "!")) == ["started", "gap", "text:ris", "text:!"]
    assert told(started("a"), pieces("a", 1, "a"), pieces("a", 3, "c"), pieces("a", 2, "b")) == ["started", "text:a", "gap", "text:c"]


def test_tools_keep_their_names() -> None:
    preview = Preview()
    preview.take(started("a"))
    first = preview.take(pieces("a", 1, ToolPiece(index=0, name="look-up", arguments='{"q":'), ToolPiece(index=0, arguments='"P"}')))
    assert [(item.tool, item.text) for item in first] == [("look-up", '{"q":'), ("look-up", '"P"}')]


def test_failed_calls_and_the_end_of_the_run() -> None:
    failed = ev.StepFailed(
        call_id=CALL, name="generate", at=1.0, error=Failure(type="ModelRefused", message="no"), seen=1, model=ModelCall(model="m")
    )
    assert told(started("a"), event(failed), event(ev.RunCompleted(result=Raw(b"1"), seen=1))) == ["started", "failed", "ended:completed"]


def test_other_steps_are_no_answers() -> None:
    assert told(event(ev.StepCompleted(call_id=CALL, name="roll", at=1.0, result=Raw(b"6"), seen=1))) == []


def test_whatever_is_lost_repeated_or_late_the_answer_comes_once_and_last() -> None:
    for seed in range(300):
        random_ = random.Random(seed)
        messages: list[AnyStreamed] = []
        for counter in range(1, 4):
            attempt = f"a{counter}"
            messages += [
                started(attempt, counter=counter),
                *(pieces(attempt, n, f"{counter}.{n} ") for n in range(1, 6)),
                ended(attempt, 6),
            ]
        messages = [m for m in messages if random_.random() < 0.8]
        for _ in range(random_.randrange(8)):
            if messages:
                messages.insert(random_.randrange(len(messages) + 1), random_.choice(messages))
        at = random_.randrange(len(messages) + 1)
        items = told(*messages[:at], answered("final"), *messages[at:])
        assert items.count("answered:final") == 1, seed
        assert items[-1] == "answered:final", seed


# -- the same on a terminal


def shown(*messages: AnyStreamed | Event) -> str:
    preview, writer = Preview(), TokenWriter()
    items = [i for m in messages for i in (preview.settle(m) if isinstance(m, Event) else preview.take(m))]
    return "".join(map(writer.text_of, items))


def test_a_terminal_shows_an_answer_once() -> None:
    assert shown(started("a"), pieces("a", 1, "Par"), pieces("a", 2, "is"), answered("Paris")) == "\n— 0:1 m\nParis\n— 0:1 recorded\n"
    late = shown(pieces("a", 2, "is"), answered("Paris"))
    assert late.endswith("— 0:1 recorded, by m-1\nParis\n")


def test_a_terminal_is_not_told_what_to_do() -> None:
    assert "\x1b" not in shown(started("a"), pieces("a", 1, "\x1b]0;owned\x07red\x1b[31m"), answered("\x1b[2Jx"))


def test_an_answer_of_a_langchain_model_has_its_text() -> None:
    def told_of(content: object) -> str:
        return text_of_answer(
            encode({"generations": [{"message": {"type": "ai", "data": {"content": content, "id": "1"}}}], "output": None})
        )

    assert told_of("Paris") == "Paris"
    assert told_of([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Par"}, "is"]) == "Paris"
    assert text_of_answer(b'{"generations":[]}') == ""
    assert text_of_answer(b'"a step of another kind"') == ""
