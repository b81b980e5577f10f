"""An account as Markdown: for a ticket, a review, a report. What agents and tools wrote is escaped, so that it stays text."""

from __future__ import annotations

import re
from datetime import datetime

from waypost_core.chronicle.entries import Account
from waypost_core.chronicle.sentences import details, sentence
from waypost_core.chronicle.telling import asked, ending, headline, told, used, waits_for

_SPECIAL = re.compile(r"([\\`*_\[\]#|])")


def markdown(account: Account, now: datetime) -> str:
    """The whole account; it ends with a line break."""
    lines = [f"# {_text(headline(account, now))}", "", "## Asked", ""]
    lines += [f"- **{name}**: {_text(value)}" for name, value in asked(account)]
    lines += ["", "## What happened", ""]
    for number, entry in enumerate(told(account.entries), 1):
        lines.append(f"{number}. {entry.began:%H:%M:%S} {_text(sentence(entry))}")
        lines += [f"    - {_text(line)}" for line in details(entry, now)]
    lines += ["", "## Why it ended" if account.ended_at is not None else "## Now", ""]
    lines += [f"- {_text(line)}" for line in ending(account)]
    for one in account.pending:
        lines.append(f"- {_text(waits_for(one, now))}")
        lines += [f"    - {_text(use)}: `{command}`" for use, command in one.do]
    lines += ["", "## Used", "", *(f"- {_text(line)}" for line in used(account))]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    escaped = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", escaped)
