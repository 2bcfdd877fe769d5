"""Makes `headrace.client.async_calls` from `headrace.client.calls`: the same methods, each awaited.

python scripts/client_calls.py [--check]
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CALLS = ROOT / "src/headrace/client/calls.py"
ASYNC = ROOT / "src/headrace/client/async_calls.py"
RULES = (
    (r"^    def (?=[a-z])", "    async def "),
    (r"^    def _ask\(", "    async def _ask("),
    (r"\bself\._ask\(", "await self._ask("),
    (r"(?<== )self\.(?=[a-z])", "await self."),
    (r"(await self\._ask\(.*\))(\[\"\w+\"\])$", r"(\1)\2"),
    (r"^( +)yield from (.+)$", r"\1for item in \2:\n\1    yield item"),
    (r"\bIterator\b", "AsyncIterator"),
    (r"\bclass ClientCalls\b", "class AsyncClientCalls"),
    ("The calls of a client that waits for each answer.", "The calls of a client for an event loop."),
    (
        r'^""".*"""$',
        '"""What a client can ask from an event loop. Made from `calls` by ``scripts/client_calls.py``."""',
    ),
)


def made(text: str) -> str:
    """The file for an event loop, formatted."""
    for number, (pattern, replacement) in enumerate(RULES):
        count = 1 if number == len(RULES) - 1 else 0
        text = re.sub(pattern, replacement, text, count=count, flags=re.MULTILINE)
    ruff = Path(sys.executable).with_name("ruff")
    for arguments in (("check", "--fix", "--quiet", "--select", "I"), ("format", "--quiet")):
        command = [str(ruff), *arguments, "--stdin-filename", str(ASYNC), "-"]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return text


def main() -> int:
    """Write the file, or say whether it is as it should be."""
    text = made(CALLS.read_text(encoding="utf-8"))
    if "--check" in sys.argv[1:]:
        return int(ASYNC.read_text(encoding="utf-8") != text)
    ASYNC.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
