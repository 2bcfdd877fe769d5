"""A check in parts, for batches too large to be looked at as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from headrace.contract.absent import ABSENT
from headrace.contract.batch import CheckedRows, OfColumn, Tallied
from headrace.contract.checking import check, emptiness, judge
from headrace.contract.declared import Contract
from headrace.contract.finding import Finding
from headrace.contract.known import KnownTimes
from headrace.contract.quarantine import ids_of
from headrace.contract.validation import Validation

if TYPE_CHECKING:
    import polars as pl

    from headrace.grid import Cadence, Grid


class CheckContext(TypedDict):
    """What a check is told beside the contract and the rows."""

    keys: tuple[str, ...]
    time: str | None
    grid: Grid | Cadence | None
    as_of: datetime
    now: datetime
    known: KnownTimes


def check_parts(
    contract: Contract,
    frames: Iterable[pl.DataFrame],
    keep: Callable[[pl.DataFrame], pl.DataFrame],
    **seen: Unpack[CheckContext],
) -> Validation:
    """As `check`, of frames that have no event time in common, or no keys where rows have none; one after the other.

    Between two parts only bad rows stay, what `keep` keeps of the good ones, and of these the columns that rules over
    the batch read. A contract that sets rows apart by the whole batch, aligns their times or tells them by their order
    sees it as a whole.

    Args:
        contract: What the rows must look like.
        frames: At least one; each is made when it is asked for.
        keep: Which good rows of a part its caller wants to have; ``good`` of the outcome holds no others.
        seen: As in `check`.

    Raises:
        ContractBroken: A declared column that may not be missing is missing from a frame.
    """
    import polars as pl

    keys, time, as_of = seen["keys"], seen["time"], seen["as_of"]
    if not divides(contract, time):
        whole = check(contract, pl.concat(frames, rechunk=True), **seen)  # polars stumbles over empty chunks of text
        return replace(whole, good=keep(whole.good))
    plain = contract.model_copy(update={"rules": (), "staleness": None, "allow_empty": True})
    read = dict.fromkeys([*keys, *([time] if time is not None else []), *_ruled(contract)])
    good, bad, slim = [], [], []
    rows = pending = 0
    reasons: Counter[str] = Counter()
    extra: dict[str, None] = {}
    tallies = dict[int, Any]()
    absent = dict[str, Finding]()
    for frame in frames:
        one = check(plain, frame, **seen)
        seen["grid"] = one.grid
        good.append(keep(one.good))
        bad.append(one.bad)
        _add_tallies(contract, one.good, tallies)
        slim.append(one.good.select(_small(one.good, read)))
        rows, pending = rows + one.rows, pending + one.pending
        reasons.update(one.reasons)
        extra |= dict.fromkeys(one.extra)
        absent |= {finding.message: finding for finding in one.findings if finding.rule == ABSENT}
    combined = CheckedRows(pl.concat(slim), keys, time, one.grid, as_of)
    tallied = {place: rule.found(tallies[place]) for place, rule in _tallied(contract)}
    rejected = pl.concat(bad)
    return Validation(
        good=pl.concat(good),
        bad=rejected.with_columns(ids_of(rejected["row"])),
        findings=(
            *emptiness(contract, rows, rows - pending, as_of),
            *judge(contract, combined, tallied),
            *absent.values(),
        ),
        rows=rows,
        pending=pending,
        reasons=dict(reasons.most_common()),
        extra=tuple(extra),
        max_invalid_fraction=contract.max_invalid_fraction,
        as_of=as_of,
        grid=one.grid,
    )


def divides(contract: Contract, time: str | None) -> bool:
    """Whether a contract judges rows by parts: none are set apart by the whole batch, or told by their order."""
    in_order = time is not None and (contract.column(time).align or contract.column(time).ambiguous == "in_order")
    return not in_order and not any(rule.severity == "quarantine" for rule in contract.rules)


def _ruled(contract: Contract) -> list[str]:
    """Columns that rules look at which see the batch as a whole, beside keys and time."""
    return [rule.column for rule in contract.rules if isinstance(rule, OfColumn) and not isinstance(rule, Tallied)]


def _tallied(contract: Contract) -> list[tuple[int, Tallied]]:
    return [(place, rule) for place, rule in enumerate(contract.rules) if isinstance(rule, Tallied)]


def _add_tallies(contract: Contract, good: pl.DataFrame, tallies: dict[int, Any]) -> None:
    """Add what the rules saw of one more part."""
    for place, rule in _tallied(contract):
        one = rule.tally(good)
        tallies[place] = tallies[place] + one if place in tallies else one


def _small(good: pl.DataFrame, names: Iterable[str]) -> Iterator[pl.Expr]:
    """The columns, text as numbers of distinct texts."""
    import polars as pl

    for name in names:
        yield pl.col(name).cast(pl.Categorical) if good.schema[name] == pl.String else pl.col(name)
