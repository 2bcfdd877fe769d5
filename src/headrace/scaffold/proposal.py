"""What a file is about, where nobody said it: the time, the target and the keys, each with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headrace.contract.column import Column
from headrace.errors import UsageError
from headrace.scaffold.outline import Look, Observation
from headrace.scaffold.times import step_of, written
from headrace.scaffold.types import typed

if TYPE_CHECKING:
    import polars as pl

_DATE = r"^\s*\d{1,4}[-/. ](\d{1,2}|[A-Za-z]{3,9})([-/. ]\d{1,4})?|^\d{8}$|^\d{4}-?[QWqw]\d"
_TIME_NAMES = re.compile(r"date|time|epoch|month|period|(^|_)(ts|at|day|when|year)$", re.IGNORECASE)
_HOUR_NAMES = re.compile(r"^(h|hr|hour)s?$", re.IGNORECASE)
_ID_NAMES = re.compile(r"(^|[_ ])(id|no|nr|code|key|number|index|instant)$|[a-z](Id|ID|No|Code)$", re.IGNORECASE)
_LATER_NAMES = re.compile(r"birth|born|dob$|due|until|end|expir|valid|closed|updated|deliver", re.IGNORECASE)
"""Times that a row has from long before, or from after it was known."""
_CLASS_NAMES = re.compile(
    r"^(target|label|class|outcome|y|survived|churn(ed)?|default(ed)?|fraud|bought|clicked|converted|species"
    r"|returned|cancell?ed|approved|attrition|exited|late|won)$",
    re.IGNORECASE,
)
_AMOUNT_NAMES = (
    re.compile(r"^(target|y|value)$", re.IGNORECASE),
    re.compile(r"^(cnt|count|demand|load|sales|sold|quantity|qty|consumption\w*|usage\w*)$", re.IGNORECASE),
    re.compile(r"(price|amount|revenue|cost)$", re.IGNORECASE),
)
_LEAST_COUNT = 10_000_000
"""Whole numbers below this are years, or count something else."""
_MOST_CLASSES = 20
_MOST_KEYS = 3
_FEW = 50
"""Values of a column by which events are told apart, at most."""
_AGAIN = 0.01
"""Up to this share of rows at the same time of the same series they are repetitions, not events."""


@dataclass(frozen=True)
class Proposal:
    """What a declaration is made from.

    Attributes:
        target: The column to predict.
        time: The columns that make the event time; empty for rows that have none.
        keys: What tells series or rows apart.
        rows: Whether each row is predicted for itself; otherwise series are forecast.
        dates: All columns of times.
        observations: What was proposed, and why.
    """

    target: str
    time: tuple[str, ...]
    keys: tuple[str, ...]
    rows: bool
    dates: tuple[str, ...]
    observations: tuple[Observation, ...]


class _TypedColumns:
    """The columns of a file, typed once each."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        typings = {name: typed(frame[name], key=False) for name in frame.columns}
        self.columns: dict[str, Column] = {name: column for name, (column, _) in typings.items()}
        self.values = {name: values for name, (_, values) in typings.items()}
        self.distinct = {name: values.drop_nulls().n_unique() for name, values in self.values.items()}
        self.dates = tuple(name for name in frame.columns if _is_time(self, name))

    def numbers(self) -> list[str]:
        """Columns of numbers that vary and are no ids."""
        numeric = [n for n, c in self.columns.items() if c.type in ("integer", "float") and self.distinct[n] > 1]
        return [name for name in numeric if not _ID_NAMES.search(name)] or numeric

    def unique(self) -> list[str]:
        """Columns that tell every row from every other, those that are named so first."""
        height = self.frame.height
        unique_names = [n for n, v in self.values.items() if v.n_unique() == height and not v.null_count()]
        kinds = ("integer", "text", "category")
        unique_names = [n for n in unique_names if self.columns[n].type in kinds and n not in self.dates]
        return sorted(unique_names, key=lambda name: _ID_NAMES.search(name) is None)

    def own_ids(self) -> list[str]:
        """Texts without blanks, another one in every row: ids of orders, claims, people. A counter of rows is none."""
        import polars as pl

        texts = [name for name in self.unique() if self.frame[name].dtype == pl.String]
        return [name for name in texts if not self.frame[name].str.contains(r"\s|^(0|[1-9]\d*)$").any()]


def proposed(look: Look, frame: pl.DataFrame) -> Proposal:
    """The proposal for a file; what was named stays.

    A file with times and a number to predict is one or more series; every other one holds rows.

    Raises:
        UsageError: Nothing in the file can be predicted, or nothing tells its rows apart.
    """
    columns = _TypedColumns(frame)
    series_time = look.time or tuple(_times(columns))
    reason = _why_rows(columns, look, series_time)
    time = (look.time or _row_time(columns)) if reason else series_time
    target, why_target = (look.target, "") if look.target is not None else _target(columns, time, rows=bool(reason))
    observations = [Observation("target", target, f"{why_target}; --target C predicts another")] if why_target else []
    if time and not look.time:
        found = "when a row was known" if reason else "the column whose values are times"
        observations.append(Observation("time", " and ".join(time), f"{found}{_others(columns, time)}"))
    if reason and series_time:
        message = (
            f"{reason}; --time {series_time[0]} forecasts sums instead" if "an id of its own" in reason else reason
        )
        observations.append(Observation("each row", "is predicted", message))
    keys, why_keys = look.keys, ""
    if not keys:
        keys, why_keys = _row_keys(columns, target, time, look) if reason else _series_keys(columns, target, time)
        observations.append(Observation("keys", ", ".join(keys) or "none", why_keys))
    return Proposal(target, time, keys, bool(reason), columns.dates, tuple(observations))


def _why_rows(columns: _TypedColumns, look: Look, time: tuple[str, ...]) -> str:
    """Why each row is predicted for itself; empty where rows are values of series."""
    if not time:
        return "no column holds times"
    if look.target is not None and columns.columns[look.target].type not in ("integer", "float"):
        return f"{look.target} is a class, and forecasts are of numbers"
    if look.keys:
        return f"{', '.join(look.keys)}: every row has another one" if _apart(columns.frame, look.keys) else ""
    if look.time or len(time) > 1:
        return ""
    ids = columns.own_ids()
    return f"{ids[0]} gives every row an id of its own" if ids and not _regular(columns, time[0]) else ""


def _regular(columns: _TypedColumns, time: str) -> bool:
    """Whether the rows are values of series at regular times."""
    import polars as pl

    keys, _ = _series_keys(columns, "", (time,))
    series = [*(columns.frame[key] for key in keys), written(time, columns.frame[time])[1].alias(time)]
    try:
        return not step_of(pl.DataFrame(series))[1]
    except UsageError:
        return False


def _row_time(columns: _TypedColumns) -> tuple[str, ...]:
    """The column that says when a row was there first: of those that are never missing the earliest."""
    able = [n for n in columns.dates if not columns.frame[n].null_count() and not _LATER_NAMES.search(n)]
    starts = {name: written(name, columns.frame[name])[1].mean() for name in able if not _counts(columns, name)}
    return (min(starts, key=lambda name: starts[name]),) if starts else ()  # type: ignore[arg-type,return-value]


def _counts(columns: _TypedColumns, name: str) -> bool:
    """Whether times are whole numbers as years are, which people write for much else."""
    import polars as pl

    numbers = columns.frame[name].cast(pl.Int64, strict=False)
    return not numbers.null_count() and bool((numbers < _LEAST_COUNT).all())


def _apart(frame: pl.DataFrame, keys: Sequence[str]) -> bool:
    """Whether these columns tell every row from every other."""
    return frame.select(keys).is_unique().all()


def _times(columns: _TypedColumns) -> Iterator[str]:
    """The column of the event time, and that of its hour where it has days alone."""
    if not columns.dates:
        return
    best = max(columns.dates, key=lambda name: ("utc" in name.lower(), columns.frame[name].n_unique()))
    yield best
    _, values, _ = written(best, columns.frame[best])
    if _has_clock(values):
        return
    hours = [n for n in columns.numbers() if _HOUR_NAMES.search(n) and columns.distinct[n] > 20]
    if hours and values.n_unique() < columns.frame.height:
        yield hours[0]


def _has_clock(values: pl.Series) -> bool:
    """Whether some time is not midnight."""
    return bool((values.dt.truncate("1d") != values).any())


def _is_time(columns: _TypedColumns, name: str) -> bool:
    import polars as pl

    raw = columns.frame[name]
    if columns.columns[name].type == "time":
        return True
    sample = raw.drop_nulls().head(200)
    named = _TIME_NAMES.search(name) is not None
    if raw.dtype == pl.String:
        if (
            not sample.len()
            or not sample.str.contains(_DATE).all()
            or (sample.str.contains(r"^\d+$").all() and not named)
        ):
            return False
    elif not (raw.dtype.is_integer() and named):
        return False
    try:
        written(name, raw)
    except UsageError:
        return False
    return True


def _others(columns: _TypedColumns, time: Sequence[str]) -> str:
    rest = [name for name in columns.dates if name not in time and not _counts(columns, name)]
    return f"; {', '.join(rest)} would do as well" if rest else ""


def _target(columns: _TypedColumns, time: Sequence[str], *, rows: bool) -> tuple[str, str]:
    names = [name for name in columns.frame.columns if name not in (*time, *(columns.dates if rows else ()))]
    if rows:
        named = [n for n in names if _CLASS_NAMES.search(n) and 2 <= columns.distinct[n] <= _MOST_CLASSES]
        if named:
            return named[0], "it is called as classes are"
    numbers = [n for n in columns.numbers() if n not in time]
    for pattern in _AMOUNT_NAMES:
        if named := [n for n in numbers if pattern.search(n)]:
            return named[-1], "it is a number that is called as what people predict"
    if rows:
        unique = columns.unique()
        two = [n for n in names if columns.distinct[n] == 2 and n not in unique]
        if two:
            return two[0], "it has two values"
    if numbers:
        return numbers[-1], "it is the last column of numbers"
    hint = "name a column of numbers or of a few classes: --target C"
    raise UsageError("no column looks like something to predict", where="--data", hint=hint)


def _series_keys(columns: _TypedColumns, target: str, time: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The fewest columns that leave one row for each time."""
    frame = columns.frame
    share = _repeated(frame, time)
    if share <= _AGAIN:
        return (), f"{'nearly ' if share else ''}every time is there once: it is one series"
    limit = max(frame.height // 20, 2)
    kinds = ("integer", "category", "text", "boolean")
    able = [
        n
        for n, c in columns.columns.items()
        if n not in (target, *time) and c.type in kinds and 1 < columns.distinct[n] <= limit and not c.nullable
    ]
    able = [n for n in able if n not in columns.dates]
    keys: list[str] = []
    while share > _AGAIN and able and len(keys) < _MOST_KEYS:
        best = min(able, key=lambda name: _repeated(frame, [*time, *keys, name]))
        keys.append(best)
        able.remove(best)
        share = _repeated(frame, [*time, *keys])
    if share <= _AGAIN:
        names = tuple(name for name in frame.columns if name in keys)
        return names, f"with them a time is there once for each of {frame.select(names).n_unique():,} series"
    labels = [n for n in frame.columns if n in (*keys, *able) and columns.distinct[n] <= _FEW]
    labels = [n for n in labels if columns.columns[n].type == "category"][:1]
    reason = "rows are events, of which a time has any number"
    return tuple(
        labels
    ), f"{reason}; those of each {labels[0]} are put together" if labels else f"{reason}; all are put together"


def _repeated(frame: pl.DataFrame, columns: Sequence[str]) -> float:
    """The share of rows that these columns do not tell from an earlier one."""
    return 1 - frame.select(columns).n_unique() / frame.height


def _row_keys(columns: _TypedColumns, target: str, time: tuple[str, ...], look: Look) -> tuple[tuple[str, ...], str]:
    """What tells every row from every other: a column, or the time, alone or with a few columns."""
    unique = [name for name in columns.unique() if name != target]
    if unique:
        return (unique[0],), "its values tell every row from every other"
    if len(time) == 1:
        few, _ = _series_keys(columns, target, time)
        names = tuple(name for name in columns.frame.columns if name in (*few, *time))
        if _apart(columns.frame, names):
            return names, "together they tell every row from every other" if few else "no two rows have the same time"
    hint = "--keys C,C names columns that do together; or add one that numbers the rows"
    raise UsageError("no column tells the rows of the file apart", where=str(look.path), hint=hint)


def with_proposal(look: Look, proposal: Proposal) -> Look:
    """The look with everything named."""
    target, time, keys = proposal.target, proposal.time, proposal.keys
    return replace(look, target=target, time=time, keys=keys, rows=proposal.rows, dates=proposal.dates)
