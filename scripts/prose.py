"""Holds the prose of README and docs: short sentences that speak to the reader, in today's words.

python scripts/prose.py [--all] [PAGE ...]

Code, tables and headings are left out of the sentences; today's words hold in tables too. Decisions and what is
generated are left out. `--all` shows the figures of each page.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MEDIAN_WORDS = 12
MOST_WORDS = 25
FRAGMENT = 3
"""Fewer words are a heading within the text, and do not enter the median."""
OLD_WORDS = {
    "afresh": "again",
    "anew": "again",
    "as yet": "yet",
    "be it": "whether it is",
    "beforehand": "before",
    "by way of": "through",
    "can be got": "you can get",
    "can be had": "you can get",
    "could not be had": "was not there",
    "for ever": "forever",
    "for want of": "without",
    "hence": "so",
    "is of no account": "does not count",
    "is told": "is reported",
    "are told apart": "differ",
    "is no more": "is gone",
    "lest": "so that not",
    "likewise": "too",
    "oneself": "yourself",
    "one's own": "your own",
    "shall": "will",
    "tells of": "reports",
    "told of": "told about",
    "that is no": "that is not a",
    "that there is not": "that does not exist",
    "thereby": "so",
    "therein": "in it",
    "thereof": "of it",
    "thereupon": "then",
    "unto": "to",
    "upon": "on",
    "what can be": "everything that you can",
    "whereof": "of which",
    "whereupon": "then",
    "whoever": "who",
    "whosoever": "who",
    "whither": "where",
}
"""Words that people no longer write, and what they write instead."""

_CODE = re.compile(r"^( *)(`{3,}|:{3,}).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_MARKUP = re.compile(r"^<(svg|picture|p|figure|img)\b.*?(</\1>|/>)$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(`+)(?!`).+?\1", re.DOTALL)
_LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^)]*\)")
_END = re.compile(r"(?<=[.!?])[\"')*_]*\s+(?=[\"'(*_]*(?:[A-Z0-9`]|headrace))")
_WORD = re.compile(r"[A-Za-z0-9][\w'’./%+-]*")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.) +")
_YOU = re.compile(r"\b(you|your|yours|yourself)\b", re.IGNORECASE)
_OLD = re.compile(rf"\b({'|'.join(sorted(OLD_WORDS, key=len, reverse=True))})\b", re.IGNORECASE)


@dataclass(frozen=True)
class Sentence:
    """One sentence of a page, and the line it begins at."""

    text: str
    line: int

    @property
    def words(self) -> int:
        """How many words it has; a piece of code is one."""
        return len(_WORD.findall(self.text))


def blank(match: re.Match[str]) -> str:
    """As many lines, with nothing in them."""
    return "\n" * match[0].count("\n")


def prose(page: str) -> str:
    """A page without code, comments and pictures, line for line."""
    for pattern in (_COMMENT, _CODE, _MARKUP):
        page = pattern.sub(blank, page)
    page = re.sub(r"^ {4}(?! *[-*]).*$", "", page, flags=re.MULTILINE)  # an indented block of code
    page = _INLINE.sub(lambda match: "Code" + "\n" * match[0].count("\n"), page)
    return _LINK.sub(lambda match: match[1] + "\n" * (match[0].count("\n") - match[1].count("\n")), page)


def paragraphs(page: str) -> Iterator[tuple[int, str]]:
    """Paragraphs and items of lists, each with its line; headings and tables are none."""
    lines: list[str] = []
    start = 0
    for number, line in enumerate([*page.splitlines(), ""], 1):
        apart = not line.strip() or line.startswith(("#", "|", ">", "---")) or bool(_ITEM.match(line))
        if apart and lines:
            yield start, " ".join(lines)
            lines = []
        if line.strip() and not line.startswith(("#", "|", "---")):
            start = start if lines else number
            lines.append(_ITEM.sub("", line).strip().lstrip("> "))


def sentences(page: str) -> list[Sentence]:
    """The sentences of a page."""
    return [
        Sentence(text.strip(), line)
        for line, paragraph in paragraphs(prose(page))
        for text in _END.split(paragraph)
        if _WORD.search(text)
    ]


def findings(page: str) -> Iterator[str]:
    """What one page breaks, each with the line where there is one."""
    spoken = sentences(page)
    counts = [sentence.words for sentence in spoken if sentence.words >= FRAGMENT]
    if not counts:
        return
    for sentence in spoken:
        if sentence.words > MOST_WORDS:
            yield f"{sentence.line}: {sentence.words} words, at most {MOST_WORDS}: {sentence.text[:90]}"
    if (median := statistics.median(counts)) > MEDIAN_WORDS:
        yield f"1: the median sentence has {median:g} words, at most {MEDIAN_WORDS}"
    if not any(_YOU.search(sentence.text) for sentence in spoken):
        yield '1: it never says "you"'
    for number, line in enumerate(prose(page).splitlines(), 1):
        for old in _OLD.finditer(line):
            yield f'{number}: "{old[0]}": write "{OLD_WORDS[old[0].lower()]}"'


def pages() -> list[Path]:
    """README, the other pages at the top, those of the systems, and the docs; without decisions."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    systems = sorted((ROOT / "systems").glob("*/README.md"))
    return [*top, *systems, *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name != "decisions.md")]


def main() -> int:
    """Print what breaks a limit, then the figures of all pages together."""
    given = [Path(name).resolve() for name in sys.argv[1:] if not name.startswith("-")]
    every: list[int] = []
    broken = 0
    for path in given or pages():
        page = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        counts = [sentence.words for sentence in sentences(page) if sentence.words >= FRAGMENT]
        every += counts
        if "--all" in sys.argv and counts:
            print(f"{name}: {len(counts)} sentences, median {statistics.median(counts):g} words, most {max(counts)}")
        for finding in findings(page):
            broken += 1
            print(f"{name}:{finding}")
    middle = statistics.median(every) if every else 0
    print(
        f"prose: {len(every)} sentences, median {middle:g} words, most {max(every, default=0)}; {broken} past a limit"
    )
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
