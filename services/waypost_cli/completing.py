"""`waypost completion`: what makes a shell complete commands and options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from waypost_cli.output import note, say
from waypost_proto.errors import BadInput

Shell = Literal["bash", "zsh", "fish"]


def completion(
    shell: Shell | None = None,
    /,
    *,
    install: Annotated[bool, Parameter(name="--install", help="Write it where the shell looks for it, instead of printing it.")] = False,
) -> None:
    """Print the completion of a shell: bash, zsh or fish; that of $SHELL if none is named.

    Examples: `source <(waypost completion bash)`, `waypost completion --install`.
    """
    from waypost_cli.app import build

    named = shell or _current()
    script = build().generate_completion(prog_name="waypost", shell=named)
    if not install:
        say(script.rstrip("\n"))
        return
    path = place_of(named)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}; print it instead: waypost completion {named}") from error
    say(str(path))
    note(_NEXT[named])


_NEXT = {
    "bash": "open a new shell; it needs the package bash-completion, or in ~/.bashrc: source <(waypost completion bash)",
    "zsh": "open a new shell; ~/.zshrc needs, before compinit: fpath+=~/.zfunc",
    "fish": "open a new shell",
}


def place_of(shell: Shell) -> Path:
    """Where a shell looks for what a user has installed."""
    home = Path.home()
    match shell:
        case "bash":
            data = os.environ.get("XDG_DATA_HOME", "").strip()
            return (Path(data) if data else home / ".local" / "share") / "bash-completion" / "completions" / "waypost"
        case "zsh":
            return home / ".zfunc" / "_waypost"
        case "fish":
            config = os.environ.get("XDG_CONFIG_HOME", "").strip()
            return (Path(config) if config else home / ".config") / "fish" / "completions" / "waypost.fish"


def _current() -> Shell:
    name = Path(os.environ.get("SHELL", "")).name
    for known in ("bash", "zsh", "fish"):
        if name == known:
            return known
    raise BadInput(f"$SHELL is {name or 'not set'}: name one of bash, zsh, fish")
