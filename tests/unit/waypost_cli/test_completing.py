"""Completion in real shells: commands, their subcommands, their options."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.waypost_cli.conftest import Command

BASH = """source "$1"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _waypost; printf '%s\\n' "${{COMPREPLY[@]}}" """


def completed(waypost: Command, folder: Path, *words: str) -> set[str]:
    """What bash offers for the last word."""
    script = folder / "waypost.bash"
    if not script.exists():
        script.write_text(waypost("completion", "bash").out)
    quoted = " ".join(f"'{word}'" for word in ("waypost", *words))
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH.format(words=quoted), "bash", str(script)], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_commands_and_options(waypost: Command, tmp_path: Path) -> None:
    assert {"runs", "run", "redispatch"} <= completed(waypost, tmp_path, "r")
    assert completed(waypost, tmp_path, "runs", "ex") == {"explain"}
    assert completed(waypost, tmp_path, "runs", "explain", "--ma") == {"--markdown"}
    assert completed(waypost, tmp_path, "doctor", "--j") == {"--json"}
    assert "--max-steps" in completed(waypost, tmp_path, "runs", "resume", "--max")
    assert completed(waypost, tmp_path, "no-such-thi") == set()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_script(waypost: Command, tmp_path: Path, shell: str) -> None:
    script = tmp_path / shell
    script.write_text(waypost("completion", shell).out)
    assert "explain" in script.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    if shell == "fish":
        said = subprocess.run(
            ["fish", "--no-config", "-c", f'source {script}; complete -C "waypost runs ex"'],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
        assert "explain" in said.stdout.split()


def test_installing_says_where_and_what_is_left_to_do(waypost: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    done = waypost("completion", "--install")
    path = tmp_path / ".local/share/bash-completion/completions/waypost"
    assert done.out == f"{path}\n"
    assert "new shell" in done.err
    assert "_waypost" in path.read_text()
    monkeypatch.setenv("SHELL", "/bin/csh")
    assert waypost("completion").err == "waypost: $SHELL is csh: name one of bash, zsh, fish\n"
    assert waypost("completion", "csh").code == 2
