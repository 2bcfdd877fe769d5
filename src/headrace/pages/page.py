"""A page of HTML: everything that came from data is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from headrace.pages.chart import Chart

_STYLE = """
:root{color-scheme:light dark;--line:#8883;--ours:#0072b2;--truth:#555;--n0:#e69f00;--n1:#009e73}
@media(prefers-color-scheme:dark){:root{--ours:#56b4e9;--truth:#bbb;--n0:#f0b83c;--n1:#3ecf9f}}
body{font:15px/1.5 system-ui,sans-serif;max-width:58rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}
.sub{opacity:.7;margin:.2rem 0}table{border-collapse:collapse;display:block;overflow-x:auto}
td,th{text-align:left;padding:.3rem .7rem;border-bottom:1px solid var(--line);white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
figure{margin:1rem 0}figcaption{font-weight:600}svg{width:100%;height:auto;display:block}
svg text{font-size:11px;fill:currentColor;opacity:.75}.end{text-anchor:end}.mid{text-anchor:middle}
polyline{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}.grid{stroke:var(--line)}
.ours{stroke:var(--ours)}.truth{stroke:var(--truth)}.naive0{stroke:var(--n0);stroke-dasharray:5 3}
.naive1{stroke:var(--n1);stroke-dasharray:2 3}.band{fill:var(--ours);opacity:.18}
.legend{margin:.2rem 0;font-size:.85rem}
.key{display:inline-block;width:1.4rem;border-top:3px solid;margin:0 .4rem .2rem .9rem}
.key.ours{border-color:var(--ours)}.key.truth{border-color:var(--truth)}.key.naive0{border-color:var(--n0)}
.key.naive1{border-color:var(--n1)}@media print{figure,table{break-inside:avoid}}
"""


class Page:
    """Headings, sentences, tables and charts, one after the other."""

    def __init__(self, title: str, subtitle: str) -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1><p class=sub>{escape(subtitle)}</p>"]

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def sentence(self, text: str) -> None:
        """A paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def note(self, text: str) -> None:
        """A paragraph in the background."""
        self._parts.append(f"<p class=sub>{escape(text)}</p>")

    def chart(self, chart: Chart) -> None:
        """A drawing."""
        self._parts.append(chart.svg())

    def table(
        self, title: str, header: Sequence[str], rows: Iterable[Sequence[object]], shares: Sequence[str] = ()
    ) -> None:
        """A table; columns in `shares` are shown in per cent."""
        if title:
            self.heading(title)
        body = [list(row) for row in rows]
        columns = [[row[i] for row in body if row[i] is not None] for i in range(len(header))]
        numeric = [bool(column) and all(isinstance(value, int | float) for value in column) for column in columns]
        marks = [" class=n" if is_number else "" for is_number in numeric]
        heads = "".join(f"<th{mark}>{escape(name)}</th>" for name, mark in zip(header, marks, strict=True))
        lines = [
            "".join(
                f"<td{mark}>{escape(_cell(value, name in shares))}</td>"
                for name, mark, value in zip(header, marks, row, strict=True)
            )
            for row in body
        ]
        self._parts.append(f"<table><tr>{heads}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>")

    def html(self) -> str:
        """The whole page."""
        head = "<!doctype html><html lang=en><meta charset=utf-8>"
        head += "<meta name=viewport content='width=device-width,initial-scale=1'>"
        return f"{head}<title>{escape(self._title)}</title><style>{_STYLE}</style>\n" + "\n".join(self._parts) + "\n"


def _cell(value: object, share: bool) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value * 100:.2f}%" if share else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
