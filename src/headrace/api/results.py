"""What the methods of a system give back: short in text, tables in a notebook, frames to go on with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from headrace.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from headrace.flow.backfill import Backfilled
    from headrace.flow.run import Result
    from headrace.registry import ModelVersion
    from headrace.tasks.evaluation import Evaluation


def to_pandas(frame: pl.DataFrame) -> Any:
    """A frame as a `pandas.DataFrame`; headrace itself does without pandas.

    Raises:
        UsageError: pandas or pyarrow is not installed.
    """
    try:
        return frame.to_pandas()
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is not installed", hint="pip install pandas pyarrow") from error


@dataclass(frozen=True, repr=False)
class Run:
    """What a run did. Everything about it stands in `result`.

    >>> run = s.predict("2023-01-20T16:00:00Z")
    >>> run
    Run('energy', as_of='2023-01-20T16:00:00Z', predictions=96)
    """

    result: Result

    def __repr__(self) -> str:
        from headrace.lineage import iso

        return f"Run({self.result.system!r}, as_of={iso(self.result.as_of)!r}, predictions={self.predictions.height})"

    def _repr_html_(self) -> str:
        from headrace.api.html import of_run

        return of_run(f"{self.result.system}: run {self.run_id}", self.as_dict(), self.predictions.head(13).to_dicts())

    @property
    def run_id(self) -> str:
        """The run's id, which its predictions carry."""
        return self.result.run_id

    @property
    def as_of(self) -> datetime:
        """What was known then is what it saw, UTC."""
        return self.result.as_of

    @property
    def predictions(self) -> pl.DataFrame:
        """What it predicted; empty where it did not predict."""
        import polars as pl

        return pl.DataFrame() if self.result.frame is None else self.result.frame

    @property
    def ingested(self) -> int:
        """New facts."""
        return self.result.ingested

    @property
    def stored(self) -> int:
        """Predictions that were new."""
        return self.result.stored

    @property
    def model(self) -> dict[str, Any] | None:
        """The version that was trained: ``version promoted reason verdict metrics``; None where none was."""
        return self.as_dict().get("model")

    @property
    def metrics(self) -> dict[str, Any]:
        """How good matured predictions were; empty where nothing has matured."""
        return dict(self.as_dict()["metrics"])

    @property
    def warnings(self) -> list[str]:
        """What you would want to know about it."""
        return list(self.result.warnings)

    def as_dict(self) -> dict[str, Any]:
        """What ``headrace run --json`` says."""
        return self.result.as_dict()

    def to_pandas(self) -> Any:
        """`predictions` for pandas."""
        return to_pandas(self.predictions)


@dataclass(frozen=True, repr=False)
class Backfill:
    """What a backfill did. Everything about it stands in `result`."""

    result: Backfilled

    def __repr__(self) -> str:
        r = self.result
        return f"Backfill({r.system!r}, runs={r.runs}, predictions={r.predictions}, failed={len(r.failed)})"

    def _repr_html_(self) -> str:
        from headrace.api.html import facts

        shown = ("runs", "repeated", "predictions", "stored", "trained", "scored", "seconds")
        shown_values = {name: value for name, value in self.as_dict().items() if name in shown}
        return facts(f"{self.result.system}: backfill", shown_values | {"failed": len(self.failed)})

    @property
    def runs(self) -> int:
        """Runs with predictions."""
        return self.result.runs

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Runs that failed: `as_of`, and the error."""
        return self.result.failed

    @property
    def trained(self) -> list[int]:
        """The versions that were trained, in the order of time."""
        return list(self.result.trained)

    @property
    def actions(self) -> list[dict[str, Any]]:
        """What alarms caused, oldest first, a row for each alarm: ``alert action outcome reason as_of version``.

        Also ``config_version``, and ``cpu_seconds`` of the action. Empty where nothing was done or put off.
        """
        return [dict(action) for action in self.result.actions]

    @property
    def alerts(self) -> dict[str, Any]:
        """Alerts of its range: ``raised closed open``."""
        return dict(self.result.alerts)

    def as_dict(self) -> dict[str, Any]:
        """What ``headrace backfill --json`` says."""
        return self.result.as_dict()


@dataclass(frozen=True, repr=False)
class Scores:
    """How good predictions are. Everything about it stands in `evaluation`."""

    evaluation: Evaluation

    @cached_property
    def _document(self) -> Mapping[str, Any]:
        return self.evaluation.as_dict()

    def __repr__(self) -> str:
        return f"Scores({self._document['system']!r}, origins={self.origins}, rows={self._document['rows']})"

    def _repr_html_(self) -> str:
        from headrace.api.html import table

        rows = [{"": self._document["system"], **self.metrics}]
        rows += [{"": name, **{m: scores.get(m) for m in self.metrics}} for name, scores in self.baselines.items()]
        return table(
            f"{self._document['system']}: {self._document['rows']:,} predictions, {self.origins:,} origins", rows
        )

    @property
    def origins(self) -> int:
        """Times that were forecast as of; 1 for held-out rows."""
        return int(self._document["origins"])

    @property
    def metrics(self) -> dict[str, Any]:
        """Over all predictions."""
        return dict(self._document["metrics"])

    @property
    def baselines(self) -> dict[str, dict[str, Any]]:
        """The same of each baseline, on the same pairs."""
        return dict(self._document["baselines"])

    def frame(self, *columns: str) -> pl.DataFrame:
        """Metrics by key columns, or by ``ahead``; without either, one row over all.

        Raises:
            UsageError: They are of held-out rows.
        """
        return self.evaluation.table(*columns)

    def as_dict(self) -> dict[str, Any]:
        """What ``headrace evaluate --json`` says."""
        return dict(self._document)

    def to_pandas(self, *columns: str) -> Any:
        """`frame` for pandas."""
        return to_pandas(self.frame(*columns))


@dataclass(frozen=True, repr=False)
class Models(Sequence["ModelVersion"]):
    """The model versions of a system, by number.

    Attributes:
        system: Its name.
        versions: All of them.
        beside: What monitoring said of a version beside the champion, by number.
    """

    system: str
    versions: Sequence[ModelVersion]
    beside: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def __repr__(self) -> str:
        champion = None if self.champion is None else self.champion.version
        return f"Models({self.system!r}, versions={len(self)}, champion={champion})"

    def __len__(self) -> int:
        return len(self.versions)

    def __iter__(self) -> Iterator[ModelVersion]:
        return iter(self.versions)

    @overload
    def __getitem__(self, place: int) -> ModelVersion: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[ModelVersion]: ...

    def __getitem__(self, place: int | slice) -> ModelVersion | Sequence[ModelVersion]:
        return self.versions[place]

    def _repr_html_(self) -> str:
        from headrace.api.html import table

        return table(f"{self.system}: model versions", self.frame().to_dicts())

    @property
    def champion(self) -> ModelVersion | None:
        """The version that predicts; None while there is none."""
        return next((version for version in self.versions if version.state == "champion"), None)

    def frame(self) -> pl.DataFrame:
        """A row for each version: ``version state as_of created_at reason decision digest`` and its metrics.

        >>> s.models.frame()["state"].to_list()
        ['champion']
        """
        import polars as pl

        names = ("version", "state", "as_of", "created_at", "reason", "decision", "digest")
        metrics = dict.fromkeys(name for version in self.versions for name in version.metrics)
        rows = [
            {name: getattr(version, name) for name in names} | {name: version.metrics.get(name) for name in metrics}
            for version in self.versions
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def to_pandas(self) -> Any:
        """`frame` for pandas."""
        return to_pandas(self.frame())


@dataclass(frozen=True, repr=False)
class Decision:
    """Who is the champion now.

    Attributes:
        system: The system's name.
        champion: The version.
        since: From when on it predicts, UTC.
        before: The champion before the decision; None where there was none.
        evidence: How the two stand, where they could be compared.
    """

    system: str
    champion: int
    since: datetime
    before: int | None = None
    evidence: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Decision({self.system!r}, champion={self.champion}, before={self.before})"

    def _repr_html_(self) -> str:
        from headrace.api.html import facts

        now = {"champion": self.champion, "since": self.since, "before": self.before}
        compared = {} if self.evidence is None else {"compared": self.evidence.get("line")}
        return facts(f"{self.system}: champion", now | compared)


@dataclass(frozen=True, repr=False)
class RunPlan:
    """The steps of a run: what each reads and writes, and what comes before it.

    Attributes:
        system: The system's name.
        steps: In order: ``name reads writes after``.

    >>> s.plan()
    RunPlan('energy', steps=6)
    """

    system: str
    steps: Sequence[Mapping[str, Any]]

    def __repr__(self) -> str:
        return f"RunPlan({self.system!r}, steps={len(self.steps)})"

    def _repr_html_(self) -> str:
        from headrace.api.html import table

        return table(f"{self.system}: the steps of a run", self.frame().to_dicts())

    def frame(self) -> pl.DataFrame:
        """A row for each step: ``step reads writes after``, names with commas between them.

        >>> s.plan().frame().row(0)
        ('ingest', 'source', 'records', '')
        """
        import polars as pl

        rows = [{name: ", ".join(step[name]) for name in ("reads", "writes", "after")} for step in self.steps]
        return pl.DataFrame([{"step": step["name"], **row} for step, row in zip(self.steps, rows, strict=True)])

    def as_dict(self) -> dict[str, Any]:
        """What ``headrace plan --json`` says."""
        return {"system": self.system, "steps": [dict(step) for step in self.steps]}

    def to_pandas(self) -> Any:
        """`frame` for pandas."""
        return to_pandas(self.frame())
