# a script, not a package
"""Makes the pictures of the documentation from the real thing: `python docs/pictures/make.py`.

Runs `waypost demo --chaos`, takes what it printed, and writes the beginning, the strikes and the end as an SVG.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

FOLDER = Path(__file__).parent
WIDTH = 124
HIGHLIGHTS = {
    r"\*\*\* .*": "bold red",
    r"\bcompleted\b\s*|exactly one for each reported case": "bold green",
    r"attempt \d+ of \d+ failed": "yellow",
    r"is in doubt.*|waits for (an|\d different) officers?.*|the supervisor is told.*": "magenta",
    r"had taken effect|did not take effect": "magenta",
    r"\bC-\d{4}\b\s*": "cyan",
    r"^\d\d:\d\d:\d\d\.\d\s*": "dim",
}

TELLING = ("***", "in doubt", "taken effect", "waits for an")
RARE = ("different officers", "a second time", "approved by ann and bert", "denied by rule", "owner-tracer", "dora")


def chosen(lines: list[str]) -> list[str]:
    """A screenful: the first lines, every strike with what follows it, what was in doubt, and the table with the count."""
    table = next(i for i, line in enumerate(lines) if line.strip().startswith("case "))
    story = [line for line in lines[:table] if "/" not in line.split("  ", 1)[0]]  # no paths of the machine that made it
    telling = [i for i, line in enumerate(story) if any(part in line for part in TELLING)]
    rare = [i for i, line in enumerate(story) if any(part in line for part in RARE)]
    keep = sorted(set(range(6)) | set(telling[:22]) | set(rare))
    picked = [story[i] for i in keep]
    end = [line for line in lines[table:] if "logs in" not in line]
    return [*picked, "…", *end]


def main() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "waypost_cli", "demo", "--chaos"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": str(WIDTH)},
    )
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    for line in chosen(run.stdout.splitlines()):
        text = Text(line[:WIDTH], no_wrap=True)
        for pattern, style in HIGHLIGHTS.items():
            text.highlight_regex(pattern, style)
        console.print(text)
    svg = console.export_svg(title="waypost demo --chaos")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # fonts of the reader's own, nothing is loaded from elsewhere
    (FOLDER / "demo.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
