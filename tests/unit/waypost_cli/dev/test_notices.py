from __future__ import annotations

import io

from waypost_cli.dev.notices import Notice, Terminal


def test_lines_carry_the_name_of_their_process() -> None:
    out = io.StringIO()
    terminal = Terminal(out)
    terminal.notice(Notice("worker", "ended", "exit code 1"))
    terminal.log_line("coordinator-2", "hello")
    first, second = out.getvalue().splitlines()
    assert first.startswith("worker      | ")
    assert first.endswith("[ended: exit code 1]")
    assert second == "coordinator-2 | hello"
    assert str(Notice("worker", "ready")) == "worker ready"
