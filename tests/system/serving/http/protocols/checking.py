"""Serve titanic, and try other projects' clients and made-up bodies on it.

    python -m tests.system.serving.http.protocols.checking PYTHON [BODIES]

`PYTHON` is that of the clients' environment. See `scripts/protocols-check`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.servers import ROOT, serving, titanic_template


def main() -> int:
    """The first exit status that is not 0."""
    python, bodies = sys.argv[1], (*sys.argv, "12000")[2]
    with tempfile.TemporaryDirectory() as folder:
        home = titanic_template(Path(folder))
        with serving(home, "--access-log", "off") as server:
            clients = [python, str(ROOT / "tests" / "peers" / "clients.py"), server.url]
            fuzzing = [sys.executable, "-m", "tests.system.serving.http.protocols.fuzzing", server.url, bodies]
            return next((code for command in (clients, fuzzing) if (code := subprocess.call(command, cwd=ROOT))), 0)


if __name__ == "__main__":
    sys.exit(main())
