"""How good predictions were, by time, step, series or version; and the series themselves, worst first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import NotFoundError, UsageError
from headrace.home import METRICS, PREDICTIONS
from headrace.pipelines.predictions import read, with_truth
from headrace.serving.http.reads.freshness import NEWEST, keys_as_text, newest_by_series
from headrace.serving.http.reads.paging import page
from headrace.serving.http.reads.reader import ReadHome
from headrace.tasks import task_of

if TYPE_CHECKING:
    import polars as pl

    from headrace.system import System
    from headrace.tasks.score_table import ScoreTable

ORDERS = ("worst", "best", "name", "stale")
_NOTHING: dict[str, Any] = {"measure": None, "measures": [], "baselines": [], "nominal": None}


def scores(
    place: ReadHome,
    name: str,
    by: str,
    *,
    where: Mapping[str, str],
    as_of: str | None,
    limit: int,
    cursor: str | None,
) -> dict[str, Any]:
    """Metrics beside baselines by one thing, ordered by it."""
    system = place.system(name)
    table = _table(place, system, by, where, as_of)
    if table is None:
        return {"by": by, "columns": [], **_NOTHING, "unit": system.target, "overall": None, "rows": [], "next": None}
    overall = _table(place, system, "", where, as_of) if by not in ("run", "step") else None
    rows = table.frame.to_dicts()
    part, following = page(rows, limit, cursor, lambda row: [str(row[column]) for column in table.columns])
    total = None if overall is None or not overall.frame.height else overall.frame.row(0, named=True)
    return {
        "by": by,
        "columns": table.columns,
        "measure": table.measure,
        "measures": table.measures,
        "baselines": table.baselines,
        "nominal": table.nominal,
        "unit": system.target,
        "overall": None if overall is None or total is None else _beside(overall, total),
        "rows": [_beside(table, row) for row in part],
        "next": following,
    }


def _beside(table: ScoreTable, row: dict[str, Any]) -> dict[str, Any]:
    against = table.against(row)
    return row | {"baseline": against["baseline"], "skill": against["skill"]}


def _table(place: ReadHome, system: System, by: str, where: Mapping[str, str], as_of: str | None) -> ScoreTable | None:
    metrics, moment = place.home.table(system.name, METRICS), None if as_of is None else datetime.fromisoformat(as_of)
    if not metrics.exists():
        return None
    task = task_of(system)
    return place.remembered(  # type: ignore[no-any-return]
        system.name,
        f"scores {by} {sorted(where.items())} {as_of}",
        metrics.version(),
        lambda: task.scores_by(place.home, by, as_of=moment, where=where),
    )


def series(
    place: ReadHome,
    name: str,
    *,
    text: str,
    order: str,
    measure: str | None,
    where: Mapping[str, str],
    limit: int,
    cursor: str | None,
) -> dict[str, Any]:
    """Series whose keys hold a text, with their errors beside the best baseline's, and how new they are."""
    system = place.system(name)
    if order not in ORDERS:
        raise UsageError(f"no order {order!r}", where="order", hint=f"there are {', '.join(ORDERS)}")
    table = _table(place, system, "series", {}, None)
    if measure is not None and table is not None and measure not in table.measures:
        raise NotFoundError(f"no measure {measure!r}", where="measure", hint=f"there are {', '.join(table.measures)}")
    rows = _ranked(place, system, table, measure, order)
    needle = text.casefold()
    chosen = [
        row
        for row in rows
        if where.items() <= row["keys"].items() and (not needle or needle in " ".join(row["keys"].values()).casefold())
    ]
    part, following = page(chosen, limit, cursor, lambda row: list(row["keys"].values()))
    return {
        "measure": measure or (None if table is None else table.measure),
        "total": len(chosen),
        "stale": sum(row["stale"] for row in chosen),
        "rows": part,
        "next": following,
    }


def _ranked(
    place: ReadHome, system: System, table: ScoreTable | None, measure: str | None, order: str
) -> list[dict[str, Any]]:
    """All series in order: of many it takes a while, and stays the same until something is ingested or scored."""
    sources = place.home.raw(system), place.home.table(system.name, METRICS)
    versions = tuple(source.version() if source.exists() else None for source in sources)
    return place.remembered(  # type: ignore[no-any-return]
        system.name,
        f"series {order} {measure}",
        versions,
        lambda: _ordered(_joined(place, system, table, measure), order, more=_more(table, measure)),
    )


def _more(table: ScoreTable | None, measure: str | None) -> bool:
    """Whether a greater value is the better one."""
    return table is not None and (measure == "coverage" or (measure is None and table.more_is_better))


def _joined(place: ReadHome, system: System, table: ScoreTable | None, measure: str | None) -> list[dict[str, Any]]:
    newest, task = newest_by_series(place, system), task_of(system)
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    if newest is not None:
        for keys, last_time, stale in zip(keys_as_text(newest, task), newest[NEWEST], newest["stale"], strict=True):
            rows[tuple(keys.values())] = {"keys": keys, "newest": last_time, "stale": stale}
    if table is not None:
        for keys, row in zip(keys_as_text(table.frame, task), table.frame.iter_rows(named=True), strict=True):
            stands = rows.setdefault(tuple(keys.values()), {"keys": keys, "newest": None, "stale": False})
            figures = {name: row.get(name) for name in ("n", "expected", "coverage", "bias")}
            stands |= table.against(row, measure) | figures
    nothing = dict.fromkeys(("value", "baseline", "baseline_value", "skill", "n", "expected", "coverage", "bias"))
    return [{**nothing, **row} for row in rows.values()]


def _ordered(rows: list[dict[str, Any]], order: str, *, more: bool) -> list[dict[str, Any]]:
    """Rows in order, those of equal rank by their keys; series without a value come last."""
    rows = sorted(rows, key=lambda row: tuple(row["keys"].values()))
    if order == "name":
        return rows
    if order == "stale":
        return sorted(rows, key=lambda row: (not row["stale"], row["newest"] is None, row["newest"] or 0))
    sign = -1.0 if (order == "worst") != more else 1.0
    return sorted(rows, key=lambda row: (row["value"] is None, sign * (row["value"] or 0.0)))


def as_of(place: ReadHome, name: str, key: Mapping[str, str], moment: str | None, *, truth: bool) -> dict[str, Any]:
    """Stored predictions of one series as they stood at a time, with the truth as it is known by now where wanted."""
    import polars as pl

    system = place.system(name)
    time_known = None if moment is None else datetime.fromisoformat(moment)
    frame = read(system, place.home, as_of=time_known, where=dict(key))
    frame = with_truth(system, place.home, frame, None) if truth else frame
    names = ["value", "lower", "upper", "served", "id", *(["actual"] if truth else [])]
    rows = frame.select(pl.col(system.event_time).alias("time"), *names)
    return {
        "predictions": rows.to_dicts(),
        "as_of": frame["as_of"].max(),
        "model_version": int(frame["model_version"][-1]) if frame.height else None,
    }


def answers(
    place: ReadHome, name: str, *, as_of: str | None, truth: bool, limit: int, cursor: str | None
) -> dict[str, Any]:
    """The newest predictions of a system, in the tables or only logged, newest first."""
    from headrace.serving.http.reads.logged import newest_answers

    system = place.system(name)
    time_known = None if as_of is None else datetime.fromisoformat(as_of)
    rows, following = newest_answers(place.home, system, time_known, limit, cursor)
    if truth:
        rows = _with_actual(place, system, rows)
    return {"rows": rows, "next": following}


def _with_actual(place: ReadHome, system: System, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    import polars as pl

    table = place.home.table(system.name, PREDICTIONS)
    ids = [row["id"] for row in rows]
    if not ids or not table.exists():
        return [row | {"actual": None} for row in rows]
    frame: pl.DataFrame = table.collect(table.scan(where=pl.col("id").is_in(ids)))
    if not frame.height:
        return [row | {"actual": None} for row in rows]
    frame = frame.unique("id", keep="last", maintain_order=True)
    actual = with_truth(system, place.home, frame, None).select("id", "actual")
    known = dict(actual.iter_rows())
    return [row | {"actual": known.get(row["id"])} for row in rows]
