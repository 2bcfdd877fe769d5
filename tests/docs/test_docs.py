"""The documentation runs: the fenced blocks of each page, in order, in one folder that holds only `systems/`.

A ```bash block is a script that stops at the first failing command; a ```python block is run in a namespace
that the page's Python blocks share. `<!-- not run: reason -->` on the line above a block leaves it out, and
shows it as skipped. Other languages (text, yaml, json ...) are only shown.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from tests.docs.commands import commands
from tests.effort import THOROUGH
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PAGES = [page for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))) if page.name != "decisions.md"]
SECONDS = 600
QUICK = {
    "energy": {"n_estimators": 20, "max_rows": 5000},
    "live_metrics": {"n_estimators": 20, "max_rows": 5000},
    "price_alchemy": {"folds": 2},
    "titanic": {"folds": 2, "repeats": 1},
}
"""What models are fitted with where a page runs with the settings of its systems; all of them in a thorough run."""

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}) *(?P<language>[\w+-]*)")
NOT_RUN = re.compile(r"<!--\s*not run:\s*(?P<reason>.*?)\s*-->")
ALIASES = {
    "sh": "bash",
    "shell": "bash",
    "console": "bash",
    "zsh": "bash",
    "py": "python",
    "python3": "python",
    "pycon": "python",
}


class BlockFailed(AssertionError):
    """A block of a page did not do what the page says."""


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, text, the line it starts at, and why it is not run, if so."""

    language: str
    text: str
    line: int
    not_run: str | None


def blocks(markdown: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines = markdown.splitlines()
    before, number = "", 0
    while number < len(lines):
        opening = FENCE.match(lines[number])
        if not opening:
            before = lines[number] if lines[number].strip() else before
            number += 1
            continue
        start, indent, body = number + 1, len(opening["indent"]), []
        number += 1
        while number < len(lines) and lines[number].strip() != opening["ticks"]:
            line = lines[number]
            body.append(line[indent:] if not line[:indent].strip() else line)
            number += 1
        if number == len(lines):
            raise BlockFailed(f"line {start}: the block is not closed")
        number += 1
        marked = NOT_RUN.search(before)
        yield Block(opening["language"], "\n".join(body) + "\n", start, marked["reason"] if marked else None)
        before = ""


def fail(page: Path, block: Block, why: str) -> BlockFailed:
    """The failure with the block itself, so that no one must look it up."""
    numbered = "\n".join(f"  {n:>4} | {line}" for n, line in enumerate(block.text.splitlines(), block.line + 1))
    return BlockFailed(f"{page.name}, {block.language} block at line {block.line}:\n{numbered}\n\n{why}")


def run_bash(page: Path, block: Block, folder: Path, quick: Path | None) -> None:
    """Run one block as a script in `folder`, with this environment's commands first on the path, or quick ones.

    What it starts ends with it; a server that it leaves running would hold a pipe open, so what it says goes to a file.
    """
    __tracebackhide__ = True
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    folders = [*([] if quick is None else [quick]), Path(sys.executable).parent, environment["PATH"]]
    environment["PATH"] = os.pathsep.join(map(str, folders))
    script = ["bash", "-euo", "pipefail", "-c", block.text]
    with tempfile.TemporaryFile() as said:
        where = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        process = subprocess.Popen(script, cwd=folder, env=environment, start_new_session=True, **where)
        try:
            why = f"exit status {process.wait(SECONDS)}"
        except subprocess.TimeoutExpired:
            why = f"did not end within {SECONDS} s"
        finally:
            with suppress(ProcessLookupError):  # all of it has ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode:
            said.seek(0)
            raise fail(page, block, f"{why}\n{said.read().decode(errors='replace')}")


def run_python(page: Path, block: Block, namespace: dict[str, object]) -> None:
    """Run one block in the page's namespace; line numbers in errors are the page's own."""
    __tracebackhide__ = True
    try:
        exec(compile("\n" * block.line + block.text, str(page), "exec"), namespace)
    except Exception as error:
        raise fail(page, block, "".join(traceback.format_exception(error))) from error


def run_page(page: Path, folder: Path, quick: Path | None = None) -> Iterator[Block]:
    """Run a page's blocks in order; yields each block that says it is not run."""
    __tracebackhide__ = True
    module = ModuleType("page")
    sys.modules["page"] = module  # dataclasses look their module up
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.not_run is not None:
            if not block.not_run:
                raise fail(page, block, "says 'not run' without a reason")
            yield block
        elif block.language in ALIASES:
            raise fail(page, block, f"write ```{ALIASES[block.language]}, so that it runs")
        elif block.language == "bash":
            run_bash(page, block, folder, quick)
        elif block.language == "python":
            run_python(page, block, module.__dict__)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a page's reader stands: an empty folder that holds a copy of the reference systems, quick to train."""
    if (ROOT / "systems").exists():
        leave = shutil.ignore_patterns("__pycache__", ".headrace", ".hypothesis")
        shutil.copytree(ROOT / "systems", tmp_path / "systems", ignore=leave)
        for name, model in {} if THOROUGH else QUICK.items():
            config = tmp_path / "systems" / name / "config.yaml"
            values = yaml.safe_load(config.read_text(encoding="utf-8"))
            config.write_text(yaml.safe_dump(values | {"model": values.get("model", {}) | model}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADRACE_HOME", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """Where a `headrace` is that starts at once; None in a thorough run."""
    if THOROUGH:
        yield None
        return
    with commands(tmp_path_factory.mktemp("commands")) as folder:
        yield folder


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, folder: Path, quick: Path | None, subtests: pytest.Subtests) -> None:
    assert page.exists(), f"{page} is missing"
    for block in run_page(page, folder, quick):
        with subtests.test(f"line {block.line}"):
            pytest.skip(f"not run: {block.not_run}")


def write(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text.replace("'''", "```"), encoding="utf-8")
    return page


def test_blocks_share_the_folder_and_the_namespace(folder: Path) -> None:
    text = (
        "'''bash\necho 3 > n\n'''\n\n'''python\nn = int(open('n').read())\n'''\n\n"
        "- a list\n\n  '''python\n  assert n == 3\n  '''\n"
    )
    assert not list(run_page(write(folder, text), folder))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'''bash\nfalse\necho later\n'''", "false"),
        ("'''bash\necho said; cat missing | sort\n'''", "said"),
        ("'''python\nx = 1\nassert x == 2\n'''", "   3 | assert x == 2"),
        ("'''sh\ntrue\n'''", "write ```bash"),
        ("<!-- not run: -->\n'''bash\ntrue\n'''", "without a reason"),
        ("'''bash\ntrue\n", "not closed"),
    ],
)
def test_a_block_that_fails_is_shown(text: str, shown: str, folder: Path) -> None:
    with pytest.raises(BlockFailed) as failure:
        list(run_page(write(folder, text), folder))
    assert shown in str(failure.value)


def test_a_block_that_fails_leaves_no_server(folder: Path) -> None:
    with pytest.raises(BlockFailed, match="exit status 1"):
        list(run_page(write(folder, "'''bash\nsleep 3600 & echo $! >left\nfalse\n'''\n"), folder))
    stat = Path("/proc", (folder / "left").read_text().strip(), "stat")
    until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_block_not_run_is_counted(folder: Path) -> None:
    text = "<!-- not run: needs Kafka -->\n\n'''bash\nfalse\n'''\n\n'''text\nfalse\n'''\n"
    assert [block.not_run for block in run_page(write(folder, text), folder)] == ["needs Kafka"]
