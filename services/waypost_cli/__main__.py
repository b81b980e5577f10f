"""Entry point of the `waypost` command: parse, run, and turn what went wrong into one line and an exit code.

0  done
1  the run or the check failed, or the request was refused
2  usage: an unknown command or option, a value that does not fit, a setting that cannot work
3  a server cannot be reached
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from waypost_cli.exits import FAILED, INTERRUPTED, UNREACHABLE, USAGE, Exit


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Everything that is expected to go wrong ends here."""
    from cyclopts import CycloptsError

    from waypost_cli.app import build
    from waypost_proto.errors import BadInput, BadMessage, Misconfigured, TransientError, WaypostError

    if list(arguments) == ["--version"]:  # as every other program takes it
        arguments = ["version"]
    try:
        result = build(arguments)(list(arguments), exit_on_error=False, result_action="return_value")
    except CycloptsError:
        return USAGE  # already printed
    except Exit as stop:
        return _say(str(stop), stop.code)
    except TransientError as error:
        return _say(str(error), UNREACHABLE)
    except (BadInput, BadMessage, Misconfigured) as error:
        return _say(str(error), USAGE)
    except WaypostError as error:
        return _say(str(error), FAILED)
    except BrokenPipeError:
        # the reader of our output is gone (`waypost runs events … | head`): nothing is wrong; keep Python quiet at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def _say(text: str, code: int) -> int:
    if text:
        print(f"waypost: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
