"""The report of a validation for people: a table for the terminal, and a page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from headrace.contract.outcome import CheckOutcome

_SAMPLE = 20

_STYLE = """
:root{color-scheme:light dark;--line:#8883;--good:#1a7f37;--bad:#cf222e;--warn:#9a6700}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}
.sub{opacity:.7}.tiles{display:flex;flex-wrap:wrap;gap:.75rem;margin:1.25rem 0}
.tile{border:1px solid var(--line);border-radius:.6rem;padding:.6rem 1rem;min-width:7rem}
.tile b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums}
.bar{height:.6rem;border-radius:.3rem;background:var(--line);overflow:hidden;display:flex}
.bar i{background:var(--good)}.bar u{background:var(--bad)}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.35rem .6rem;
border-bottom:1px solid var(--line);vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}
code{font-size:.85em;overflow-wrap:anywhere}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
"""


def _outcome(passed: bool, severity: str) -> tuple[str, str]:
    if passed:
        return "passed", "good"
    return ("stop", "bad") if severity == "stop" else (severity, "warn")


def _verdict(validation: CheckOutcome) -> tuple[str, str]:
    """Whether the contract holds, and its tone; rules that failed and stop nothing are counted."""
    if validation.broken:
        return "is broken", "bad"
    warned = sum(not finding.passed and finding.severity == "warn" for finding in validation.findings)
    if not warned:
        return "holds", "good"
    return f"holds, with {warned} warning{'s' if warned > 1 else ''}", "warn"


def terminal_table(validation: CheckOutcome, title: str) -> Table:
    """A rich table: counts, reasons of bad rows, rules over the batch."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    colours = {"good": "green", "bad": "red", "warn": "yellow"}
    word, tone = _verdict(validation)
    heading = Text.assemble(f"{title}: the contract ", (word, colours[tone]))
    table = Table(title=heading, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("check")
    table.add_column("rows", justify="right")
    table.add_column("outcome")
    table.add_row("good", f"{validation.good.height:,}", Text("kept", "green"))
    allowed = f"{validation.invalid_fraction:.2%} of the known rows, allowed {validation.max_invalid_fraction:.2%}"
    table.add_row("bad", f"{validation.bad.height:,}", Text(allowed, "red" if validation.bad.height else "green"))
    if validation.pending:
        table.add_row("pending", f"{validation.pending:,}", f"not yet known at {validation.as_of.isoformat()}")
    for label, count in validation.reasons.items():
        table.add_row(f"  {label}", f"{count:,}", Text("quarantined", "yellow"))
    for finding in validation.findings:
        word, tone = _outcome(finding.passed, finding.severity)
        table.add_row(finding.message, "", Text(word, colours[tone]))
    if validation.extra:
        table.add_row(f"columns not declared: {', '.join(validation.extra)}", "", "ignored")
    return table


def html_page(validation: CheckOutcome, title: str) -> str:
    """One page of HTML; everything that came from data is escaped."""
    verdict, tone = _verdict(validation)
    known = max(validation.known, 1)
    tiles = {
        "rows": f"{validation.rows:,}",
        "good": f"{validation.good.height:,}",
        "bad": f"{validation.bad.height:,}",
        "not yet known": f"{validation.pending:,}",
        f"invalid fraction, allowed {validation.max_invalid_fraction:.2%}": f"{validation.invalid_fraction:.2%}",
    }
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f"<h1>{escape(title)}: the contract <span class={tone}>{verdict}</span></h1>",
        f"<div class=sub>as of {escape(validation.as_of.isoformat())}</div>",
        "".join(f"<p class=bad>{escape(reason)}</p>" for reason in validation.why_broken),
        "<div class=tiles>",
        "".join(f"<div class=tile><b>{value}</b>{escape(name)}</div>" for name, value in tiles.items()),
        "</div><div class=bar>",
        f"<i style='width:{100 * validation.good.height / known:.3f}%'></i>",
        f"<u style='width:{100 * validation.bad.height / known:.3f}%'></u></div>",
        _reasons(validation),
        _findings(validation),
        _sample(validation),
    ]
    if validation.extra:
        parts.append(f"<h2>Columns not declared</h2><p>{escape(', '.join(validation.extra))}</p>")
    return "".join(parts) + "</html>\n"


def _table(title: str, heads: Iterable[str], rows: Iterable[str]) -> str:
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    if not body:
        return ""
    head = "".join(f"<th>{head}</th>" for head in heads)
    return f"<h2>{title}</h2><table><tr>{head}</tr>{body}</table>"


def _reasons(validation: CheckOutcome) -> str:
    rows = (f"<td>{escape(label)}</td><td class=n>{count:,}</td>" for label, count in validation.reasons.items())
    return _table("Why rows were set apart", ("reason", "rows"), rows)


def _findings(validation: CheckOutcome) -> str:
    rows = []
    for finding in validation.findings:
        word, tone = _outcome(finding.passed, finding.severity)
        rows.append(f"<td>{escape(finding.rule)}</td><td>{escape(finding.message)}</td><td class={tone}>{word}</td>")
    return _table("Rules over the batch", ("rule", "finding", "outcome"), rows)


def _sample(validation: CheckOutcome) -> str:
    rows = (
        f"<td><code>{escape(row['row'][:2000])}</code></td><td>{_lines(row['reasons'])}</td>"
        for row in validation.bad.head(_SAMPLE).iter_rows(named=True)
    )
    return _table(f"The first {min(_SAMPLE, validation.bad.height)} bad rows", ("row as it came", "reasons"), rows)


def _lines(texts: Iterable[str]) -> str:
    return "<br>".join(escape(text) for text in texts)
