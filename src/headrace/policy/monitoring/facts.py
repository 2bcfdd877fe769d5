"""The facts that rules of monitoring ask for: each as a frame over all evaluation times, each as it was known then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars as pl


class MonitoringFacts(Protocol):
    """What a rule may ask for. Every frame has a column ``time``, the evaluation time (UTC), and rows for each of them.

    What stands at a time was known at it, and follows from nothing later. A frame may be empty where there is nothing.
    """

    @property
    def times(self) -> Sequence[datetime]:
        """The evaluation times, ascending, UTC."""

    @property
    def every(self) -> timedelta:
        """From one evaluation time to the next."""

    def errors(self, metrics: Sequence[str], by: Sequence[str] = (), window: timedelta | None = None) -> pl.DataFrame:
        """Errors of the present champion's predictions whose truth became known within a window before each time.

        Args:
            metrics: Names of metrics of this kind of system, such as ``mape`` or ``accuracy``.
            by: Columns that make a scope, or ``series`` or ``horizon`` (the step ahead). None: the whole system.
            window: How far back. Default: `Monitoring.window`.

        Returns:
            ``time``, the columns `by`, ``n`` (pairs) and the metrics, null where there is nothing to compare.

        Raises:
            UsageError: This kind of system does not know such a metric or column.
        """

    def baselines(self, by: Sequence[str] = (), window: timedelta | None = None) -> pl.DataFrame:
        """The loss of predictions beside that of each baseline on the same pairs.

        Returns:
            ``time``, `by`, ``baseline`` (its name), ``n``, ``loss`` and ``baseline_loss`` (mean, lower is better),
            ``blocks`` (stretches between evaluation times that have pairs) and ``deviation``: the standard error of the
            mean difference, from how the stretches differ.
        """

    def coverage(self, by: Sequence[str] = (), window: timedelta | None = None) -> pl.DataFrame:
        """How often intervals held the truth: ``time``, `by`, ``n``, ``coverage``, ``blocks`` and ``deviation``.

        ``deviation`` is the standard error of the coverage, from how stretches differ. Empty where there is none.
        """

    def estimates(self, metrics: Sequence[str] | None = None, window: timedelta | None = None) -> pl.DataFrame:
        """What metrics are to be expected by the probabilities of classes, with no truth; see `headrace.estimation`.

        Args:
            metrics: Such as ``accuracy``, ``log_loss``, ``brier``; ``auc``, ``precision``, ``recall`` and ``f1`` of two
                classes, ``macro_f1`` of more. None: that by which versions are compared.
            window: How far back predictions were made that count. Default: `Monitoring.window`.

        Returns:
            ``time``, ``metric``, ``n`` (predictions), ``estimated``; ``matured`` (those of them whose truth is known)
            and ``realised``; ``held_out`` (the metric when the champion was trained), ``deviation`` and
            ``realised_deviation`` (by how much either differs from it by chance, one standard error). Of a time at
            which nothing can be estimated there is a row with ``reason``, and nothing else. Empty for predictions
            without probabilities of classes.

        Raises:
            UsageError: Predictions of this kind have no such estimate.
        """

    def nominal(self) -> float | None:
        """How often intervals should hold the truth; None where there are none."""

    def held_out(self) -> pl.DataFrame:
        """What the champion promised: ``time metric value`` on the later window that it was judged by."""

    def champion(self) -> pl.DataFrame:
        """Who predicts: ``time version promoted`` (UTC), and ``since``: from when on its errors count."""

    def validation(self, window: timedelta | None = None) -> pl.DataFrame:
        """What came in within a window: ``time rows quarantined warnings`` (counts)."""

    def volume(self, past: int) -> pl.DataFrame:
        """Rows that became known between an evaluation time and the one before: ``time rows``.

        Also ``usual``: their median over so many stretches before; null where less than half of these had any.
        """

    def freshness(self) -> pl.DataFrame:
        """How old what is known is: ``time newest`` (known time of the newest fact, UTC) and ``usual`` (seconds).

        ``usual`` is the longest pause among the stretches before; null where there are too few to tell.
        """

    def silences(self, least: timedelta, ended: timedelta) -> pl.DataFrame:
        """The series that are silent while others go on: nothing of them became known for longer than `least`.

        A series that has been silent for longer than `ended` has ended, and counts no more.

        Returns:
            ``time``, the key columns, ``known_at`` and ``_observed`` (UTC: when its newest observation became known,
            and of when that is), ``_seconds`` (from then to the newest observation of all), ``_usual`` (seconds of its
            longest usual pause, null where there is none), ``_pauses`` (how many usual ones), ``_alive`` (how many
            series have not ended). A time with series of which none is silent has one row, in which the others are
            null. The underscore keeps them apart from keys.

        Raises:
            UsageError: The system has no series.
        """

    def predictions(self) -> pl.DataFrame:
        """Predictions that were made between an evaluation time and the one before: ``time predictions``.

        Also ``last``, when the last one was made by then (UTC), null while there is none.
        """

    def drift(self) -> pl.DataFrame:
        """Distributions beside those of the training, as the table ``drift`` says: ``time`` and the table's columns.

        Of each evaluation time that is the first of its day the newest that is known and not older than one stretch;
        empty where none is computed.
        Of a time at which nothing could be measured there is one row with ``reason``, and nothing else.
        """

    def anomalies(self, window: timedelta | None = None) -> pl.DataFrame:
        """How values were judged that became known within a window before each time; see `headrace.models.anomalies`.

        Args:
            window: How far back. Default: from one evaluation time to the next.

        Returns:
            ``time``, the key columns, ``n`` (judged values), ``anomalies`` (how many of them are), ``degree`` (the
            highest). Series without a judged value have no row; empty for a system that does not forecast.
        """

    def latencies(self, window: timedelta | None = None) -> pl.DataFrame:
        """How long predictions over HTTP took within a window that ends five minutes before each time.

        Args:
            window: How far back. Default: from one evaluation time to the next.

        Returns:
            ``time``, ``n`` (answers), ``p50``, ``p95`` and ``p99`` in seconds. Times without an answer have no row.
        """

    def frame(self, name: str) -> pl.DataFrame | None:
        """The facts of another table of the system, with ``known_at``; None where there is none. For rules of yours."""
