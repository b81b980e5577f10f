"""Writes the dashboards: `python k8s/grafana/generate.py`. With `--check` it only says whether they are what it would write (exit 1)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from agents import AGENTS
from compliance import COMPLIANCE
from operators import OPERATORS

FOLDER = Path(__file__).resolve().parent / "dashboards"
DASHBOARDS = {"operators.json": OPERATORS, "agents.json": AGENTS, "compliance.json": COMPLIANCE}


def main(arguments: list[str]) -> int:
    """Write or compare. Returns the exit code."""
    stale = []
    for name, dashboard in DASHBOARDS.items():
        text = json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"
        path = FOLDER / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(text)
    if stale and "--check" in arguments:
        sys.stderr.write(f"not what generate.py writes: {', '.join(stale)}; run python k8s/grafana/generate.py\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
