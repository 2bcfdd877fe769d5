"""A check in parts, for batches too large to be looked at as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict, Unpack

from headrace.contract.absent import ABSENT
from headrace.contract.checking import check, emptiness, judge
from headrace.contract.declared import Contract
from headrace.contract.finding import Finding
from headrace.contract.known import Known
from headrace.contract.quarantine import ids_of
from headrace.contract.rules import Batch, Share, ZScore
from headrace.contract.validation import Validation

if TYPE_CHECKING:
    import polars as pl

    from headrace.grid import Cadence, Grid


class Seen(TypedDict):
    """What a check is told beside the contract and the rows."""

    keys: tuple[str, ...]
    time: str | None
    grid: Grid | Cadence | None
    as_of: datetime
    now: datetime
    known: Known


def check_parts(
    contract: Contract,
    frames: Iterable[pl.DataFrame],
    keep: Callable[[pl.DataFrame], pl.DataFrame],
    **seen: Unpack[Seen],
) -> Validation:
    """As `check`, of frames that have no event time in common, one after the other.

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
    whole = time is None or contract.column(time).align or contract.column(time).ambiguous == "in_order"
    if whole or any(rule.severity == "quarantine" for rule in contract.rules):
        frames = [pl.concat(frames, rechunk=True)]  # polars stumbles over empty chunks of text
    alone = contract.model_copy(update={"rules": (), "staleness": None, "allow_empty": True})
    read = dict.fromkeys([*keys, *([time] if time is not None else []), *_ruled(contract)])
    good, bad, slim = [], [], []
    rows = pending = 0
    reasons: Counter[str] = Counter()
    extra: dict[str, None] = {}
    absent = dict[str, Finding]()
    for frame in frames:
        one = check(alone, frame, **seen)
        seen["grid"] = one.grid
        good.append(keep(one.good))
        bad.append(one.bad)
        slim.append(one.good.select(_small(one.good, read)))
        rows, pending = rows + one.rows, pending + one.pending
        reasons.update(one.reasons)
        extra |= dict.fromkeys(one.extra)
        absent |= {each.message: each for each in one.findings if each.rule == ABSENT}
    everything = Batch(pl.concat(slim), keys, time, one.grid, as_of)
    apart = pl.concat(bad)
    return Validation(
        good=pl.concat(good),
        bad=apart.with_columns(ids_of(apart["row"])),
        findings=(*emptiness(contract, rows, rows - pending, as_of), *judge(contract, everything), *absent.values()),
        rows=rows,
        pending=pending,
        reasons=dict(reasons.most_common()),
        extra=tuple(extra),
        max_bad_share=contract.max_bad_share,
        as_of=as_of,
        grid=one.grid,
    )


def _ruled(contract: Contract) -> list[str]:
    """Columns that rules over the batch look at, beside keys and time."""
    return [rule.column for rule in contract.rules if isinstance(rule, Share | ZScore)]


def _small(good: pl.DataFrame, names: Iterable[str]) -> Iterator[pl.Expr]:
    """The columns, text as numbers of distinct texts."""
    import polars as pl

    for name in names:
        yield pl.col(name).cast(pl.Categorical) if good.schema[name] == pl.String else pl.col(name)
