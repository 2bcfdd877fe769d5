"""``simulated[:?key=value&...]``: records made by a function, the same ones for the same seed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from pydantic import ValidationError, create_model

from headrace.contract import KNOWN_AT, KnownTimes
from headrace.declaration import Declared, format_duration
from headrace.errors import DeclarationError, SourceError, UsageError
from headrace.sources.base import Reader, Records, Since, Source, SourceContext, require_zone
from headrace.sources.consumption import Consumption, consumption_rows
from headrace.sources.listings import Listings, listing_rows
from headrace.sources.metrics import Metrics, metric_rows
from headrace.sources.passengers import Passengers, passenger_rows

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "Consumption",
    "Listings",
    "Metrics",
    "Passengers",
    "Simulation",
    "consumption",
    "listings",
    "metrics",
    "open_reader",
    "passengers",
]


@dataclass(frozen=True)
class Simulation:
    """A generator of records with declared options.

    Args:
        options: The class of its options; each field can be set in the URI.
        generate: Makes the rows that are known at ``as_of``, in the source's own names, from the options and
            ``as_of`` (UTC): a frame, or several that have no event time in common. It asks no clock. With a column
            ``known_at`` it tells their known times itself.
        further: The same options, for records that reach back further by a time: the first run of a backfill then
            has as much history as the last. Without it the options stand as they are.
        lagged: Whether it has an option ``lag`` that is the source's where nothing else is said.
    """

    options: type[Declared]
    generate: Callable[[Any, datetime], pl.DataFrame | Iterator[pl.DataFrame]]
    further: Callable[[Any, timedelta], Any] | None = None
    lagged: bool = False

    def __call__(self, *, as_of: datetime, **options: Any) -> pl.DataFrame:
        """The rows known at ``as_of``, with the options given.

        Raises:
            UsageError: An option is unknown or has the wrong type.
        """
        import polars as pl

        return pl.concat(self.parts(options, as_of=as_of), rechunk=True)

    def parts(
        self, options: Mapping[str, Any], *, as_of: datetime, first: datetime | None = None
    ) -> Iterator[pl.DataFrame]:
        """The same rows in one frame or several, each made when it is asked for.

        Args:
            options: By name.
            as_of: What is known then, with a zone.
            first: The first time that is asked about; see `further`.

        Raises:
            UsageError: An option is unknown or has the wrong type.
            SourceError: The simulation does not return a polars frame.
        """
        import polars as pl

        require_zone(as_of=as_of)
        chosen = self._parsed(options)
        if first is not None and self.further is not None:
            chosen = self.further(chosen, as_of - first)
        records: Any = self.generate(chosen, as_of.astimezone(UTC))
        if isinstance(records, Iterator):
            return records
        if not isinstance(records, pl.DataFrame):
            text = f"the simulation returned a {type(records).__name__}, not a polars DataFrame"
            raise SourceError(text, where="source.simulate")
        return iter([records])

    @classmethod
    def of(cls, simulate: Callable[..., Any] | Simulation) -> Simulation:
        """A simulation from a plain function: its keyword arguments are the options.

        Each has the type of its annotation, or of its default where it has none.

        Raises:
            DeclarationError: An argument other than ``as_of`` has no default, or ``as_of`` is missing.
        """
        if isinstance(simulate, Simulation):
            return simulate
        arguments = dict(_signature(simulate).parameters)
        if arguments.pop("as_of", None) is None:
            raise DeclarationError("the function takes no as_of", where="source.simulate")
        for name, argument in arguments.items():
            if argument.default is inspect.Parameter.empty:
                raise DeclarationError(f"the argument {name!r} has no default", where="source.simulate")
        fields: Any = {name: (_type_of(argument), argument.default) for name, argument in arguments.items()}
        options = create_model("Options", __base__=Declared, **fields)
        return cls(options, lambda chosen, as_of: simulate(as_of=as_of, **dict(chosen)))

    def _parsed(self, options: Mapping[str, Any]) -> Declared:
        names = ", ".join(self.options.model_fields)
        try:
            return self.options.model_validate(options)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = f"simulated:?{'.'.join(str(part) for part in first['loc'])}"
            if first["type"] == "extra_forbidden":
                raise UsageError("there is no such parameter", where=where, hint=f"there are {names}") from error
            got = f" (got {str(first['input'])!r})"
            raise UsageError(f"{first['msg'].removeprefix('Value error, ')}{got}", where=where) from error


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError:  # an annotation for type checkers alone
        return inspect.signature(function)


def _type_of(argument: inspect.Parameter) -> Any:
    if argument.annotation is not inspect.Parameter.empty and not isinstance(argument.annotation, str):
        return argument.annotation
    return str | None if argument.default is None else type(argument.default)


def _further(options: Any, by: timedelta) -> Any:
    """More of `days`, unless the `start` is said."""
    days = options.days + by / timedelta(days=1)
    return options if options.start is not None else options.model_copy(update={"days": days})


def _more(options: Any, by: timedelta) -> Any:
    """More listings, before the others."""
    added = by / timedelta(days=1)
    rows = None if options.rows is None else options.rows + round(added * options.per_day)
    return options.model_copy(update={"days": options.days + added, "rows": rows})


consumption = Simulation(Consumption, consumption_rows, _further, lagged=True)
"""Hourly electricity consumption by price area and industry code; see `Consumption` for the options."""

passengers = Simulation(Passengers, passenger_rows)
"""Passengers of a liner, some of whom survived; see `Passengers` for the options."""

listings = Simulation(Listings, listing_rows, _more)
"""Listings of second-hand things with a price; see `Listings` for the options."""

metrics = Simulation(Metrics, metric_rows, _further)
"""Business metrics at a fixed step, such as orders and cost per click; see `Metrics` for the options."""


@dataclass(frozen=True)
class SimulatedReader:
    """Reads what a simulation makes."""

    source: Source
    simulation: Simulation
    options: dict[str, str]

    def read(
        self, *, as_of: datetime, now: datetime, since: Since | None = None, first: datetime | None = None
    ) -> Records:
        """The simulated rows known at ``as_of``; ``now`` and ``since`` change nothing.

        A simulation that can reach back `further` does so from ``first``.

        Raises:
            UsageError: A parameter of the URI is unknown or has the wrong type.
            SourceError: The simulation does not return a polars frame.
        """
        require_zone(as_of=as_of, now=now)
        chosen: dict[str, Any] = dict(self.options)
        if self.simulation.lagged:
            chosen.setdefault("lag", self.source.lag)
        parts = self.simulation.parts(chosen, as_of=as_of, first=first)
        frame, second = next(parts), next(parts, None)
        known = KnownTimes(column=KNOWN_AT) if KNOWN_AT in (*frame.columns, *self.source.columns) else None
        return Records(frame, self._origin(), known, more=() if second is None else chain([second], parts))

    def _origin(self) -> str:
        options = dict(self.options)
        if self.simulation.lagged:
            options.setdefault("lag", format_duration(self.source.lag))
        return f"simulated:?{urlencode(sorted(options.items()))}" if options else "simulated"


def open_reader(source: Source, rest: str, context: SourceContext) -> Reader:
    """A reader of the source's simulation, with the options that ``rest`` names after ``?``.

    Raises:
        UsageError: The system has nothing to simulate, or the parameters are not ``key=value`` pairs.
    """
    if source.simulate is None:
        hint = "name where the data is: --source file:PATH, or Source(simulate=...)"
        raise UsageError("this system has no source of its own and nothing to simulate", where="source", hint=hint)
    try:
        pairs = parse_qsl(rest.removeprefix("?"), keep_blank_values=True, strict_parsing=bool(rest.strip("?")))
    except ValueError as error:
        hint = "write it as simulated:?seed=1&days=90"
        raise UsageError("the parameters are not key=value pairs", where=f"simulated:{rest}", hint=hint) from error
    for place, (name, _) in enumerate(pairs):
        if name in dict(pairs[:place]):
            raise UsageError("the parameter is there twice", where=f"simulated:?{name}")
    return SimulatedReader(source, Simulation.of(source.simulate), dict(pairs))
