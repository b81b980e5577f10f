from __future__ import annotations

import pytest

from waypost_io.redaction import redact


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("postgresql://u:p@h:5432/db", "postgresql://***@h:5432/db"),
        ("nats://token@h", "nats://***@h"),
        ("nats://a:b@h1,nats://c:d@h2", "nats://***@h1,nats://***@h2"),
        ("nats://a:b,c@h1", "nats://***@h1"),
        ("postgresql://u:p@ss/w@h/db", "postgresql://***@h/db"),
        ("postgresql://h/db?user=u&password=p&sslmode=require", "postgresql://h/db?user=u&password=***&sslmode=require"),
        ("cannot reach nats://a:b@h: refused", "cannot reach nats://***@h: refused"),
        ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
        ("write to a@b.c", "write to a@b.c"),
    ],
)
def test_user_information_is_masked(text: str, safe: str) -> None:
    assert redact(text) == safe
