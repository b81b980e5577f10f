"""`waypost dev`: everything on one machine, supervised. `Supervisor` is for programs, `run_dev` for the terminal."""

from waypost_cli.dev.notices import Notice, Terminal
from waypost_cli.dev.options import DevOptions
from waypost_cli.dev.supervisor import Supervisor
from waypost_cli.dev.terminal import run_dev

__all__ = ["DevOptions", "Notice", "Supervisor", "Terminal", "run_dev"]
