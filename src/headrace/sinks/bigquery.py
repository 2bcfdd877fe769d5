"""``bigquery://PROJECT/DATASET/TABLE``: a table of BigQuery, by Google's client. See `headrace.sources.bigquery`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, RetryError, ServerError, TooManyRequests
from google.auth.exceptions import GoogleAuthError
from requests import RequestException

from headrace.errors import SinkError, SinkMovedError, SinkUnavailableError, UsageError
from headrace.lineage import iso
from headrace.sinks.address import Address
from headrace.sinks.base import Begun, Kind, Position, Prediction, PredictionLayout, Sent, SinkContext, written
from headrace.sinks.table import POSITIONS
from headrace.sources.bigquery import FORM, BigQueryAddress, address_of, reason_of

_TYPES: Mapping[Kind, str] = {
    "text": "STRING",
    "integer": "INT64",
    "float": "FLOAT64",
    "boolean": "BOOL",
    "time": "TIMESTAMP",
}
_LEGACY = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN"}
"""How the client calls them."""
_AWAY = (RetryError, ServerError, TooManyRequests, RequestException)


class BigQuerySink:
    """Each send is one script: rows by MERGE on their id, and then the position.

    A script that breaks off between the two leaves the position as it was: the same rows come again, under their ids.
    Of two writers of one source the second finds another position than it read, and its script does nothing.

    Args:
        where: The data set.
        table: Name of the table.
        layout: What predictions look like.
        address: The URI.
    """

    def __init__(self, where: BigQueryAddress, table: str, layout: PredictionLayout, address: Address) -> None:
        self.target, self._where, self._layout = address.shown, where, layout
        self._table, self._positions = f"`{table}`", f"`{POSITIONS}`"
        self._name, self._plain = f"{layout.system}|{layout.source}|{table}", table
        self._client: Any = None

    def begin(self) -> Begun:
        """Make what is missing, look at what is there, and read the position."""
        self.close()
        with self._guarded():
            fields = ", ".join(f"`{field.name}` {_TYPES[field.kind]}" for field in self._layout.fields)
            had = self._fits()
            self._run(f"CREATE TABLE IF NOT EXISTS {self._positions} (sink STRING NOT NULL, position STRING NOT NULL)")
            if not had:
                self._run(f"CREATE TABLE IF NOT EXISTS {self._table} ({fields})")
                forget = f"DELETE FROM {self._positions} WHERE ENDS_WITH(sink, @name)"  # noqa: S608  # a constant
                self._run(forget, {"name": f"|{self._plain}"})
            return Begun(self._position())

    def send(self, predictions: Sequence[Prediction], before: Position | None, after: Position) -> Sent:
        """One script."""
        rows = {row[0]: row for prediction in predictions for row in prediction.rows}  # the last of an id counts
        replaced = [name for prediction in predictions for name in prediction.replaces if name not in rows]
        values = {
            "rows": json.dumps([self._document(row) for row in rows.values()]),
            "replaced": json.dumps(replaced),
            "sink": self._name,
            "before": "" if before is None else written(before),
            "after": written(after),
        }
        with self._guarded():
            self._run(self._script(), values)
            if self._position() != after:
                raise SinkMovedError("another process passed on to it meanwhile", where=self.target)
        return Sent(passed=len(predictions))

    def close(self) -> None:
        """Let go of the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _script(self) -> str:
        """Rows, and the position last; each only while the position is the one that was read."""
        names = [field.name for field in self._layout.fields]
        taken = ", ".join(
            f"CAST(JSON_VALUE(r, '$.c{place}') AS {_TYPES[field.kind]}) AS `{field.name}`"
            for place, field in enumerate(self._layout.fields)
        )
        position = f"SELECT MAX(position) FROM {self._positions} WHERE sink = @sink"  # noqa: S608  # a constant
        same = f"IFNULL(({position}), '') = @before"
        changes = ", ".join(f"`{name}` = n.`{name}`" for name in names[1:])
        columns, fresh = (", ".join(f"{prefix}`{name}`" for name in names) for prefix in ("", "n."))
        return f"""
            DELETE FROM {self._table} WHERE `{names[0]}` IN
                (SELECT JSON_VALUE(r) FROM UNNEST(JSON_QUERY_ARRAY(@replaced)) AS r) AND {same};
            MERGE {self._table} AS t
            USING (SELECT {taken} FROM UNNEST(JSON_QUERY_ARRAY(@rows)) AS r WHERE {same}) AS n
            ON t.`{names[0]}` = n.`{names[0]}`
            WHEN MATCHED THEN UPDATE SET {changes}
            WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({fresh});
            MERGE {self._positions} AS t USING (SELECT @sink AS sink) AS n ON t.sink = n.sink
            WHEN MATCHED AND t.position = @before THEN UPDATE SET position = @after
            WHEN NOT MATCHED AND @before = '' THEN INSERT (sink, position) VALUES (@sink, @after);"""  # noqa: S608  # names are those of the layout and of the URI; values are parameters

    def _document(self, row: Sequence[Any]) -> dict[str, Any]:
        return {
            f"c{place}": iso(value) if isinstance(value, datetime) else value
            for place, value in enumerate(row)
            if value is not None
        }

    def _fits(self) -> bool:
        """Whether the table is there, and can hold the predictions.

        Raises:
            SinkError: It cannot; the message names each column.
        """
        try:
            table = self._where.looked_up(self._opened(), self._plain)
        except NotFound:
            return False
        present = {field.name: field for field in table.schema}
        wrong = []
        for field in self._layout.fields:
            kind = _TYPES[field.kind]
            if field.name not in present:
                wrong.append(f"{field.name} ({kind}) is missing")
            elif present[field.name].field_type not in (kind, _LEGACY.get(kind, kind)):
                wrong.append(f"{field.name} is {present[field.name].field_type}, not {kind}")
        names = {field.name for field in self._layout.fields}
        wrong += [
            f"{name} must have a value, and predictions have none"
            for name, field in present.items()
            if field.mode == "REQUIRED" and name not in names
        ]
        if wrong:
            hint = "name a table that is not there yet: it is made; or change this one"
            raise SinkError(f"the table does not fit: {'; '.join(wrong)}", where=self.target, hint=hint)
        return True

    def _position(self) -> Position | None:
        statement = f"SELECT position FROM {self._positions} WHERE sink = @sink"  # noqa: S608  # a constant
        rows = [row[0] for row in self._run(statement, {"sink": self._name}).result()]
        position: Position | None = json.loads(rows[0]) if rows else None
        return position

    def _opened(self) -> Any:
        if self._client is None:
            self._client = self._where.client()
        return self._client

    def _run(self, statement: str, values: Mapping[str, Any] | None = None) -> Any:
        return self._where.asked(self._opened(), statement, values or {})

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except _AWAY as error:
            self.close()
            raise SinkUnavailableError(f"cannot be used: {reason_of(error)}", where=self.target) from error
        except (GoogleAPIError, GoogleAuthError) as error:
            self.close()
            hint = "may it write there?" if isinstance(error, Forbidden) else "nothing of it was written"
            raise SinkError(f"BigQuery refuses: {reason_of(error)}", where=self.target, hint=hint) from error


def open_sink(address: Address, layout: PredictionLayout, place: SinkContext) -> BigQuerySink:
    """The table of a data set.

    Raises:
        UsageError: No data set or no table is named.
    """
    where = address_of(address.uri)
    if len(where.names) != 2:
        hint = f"write it as {FORM.partition('?')[0]}/TABLE"
        raise UsageError("names no table of a data set", where=address.shown, hint=hint)
    return BigQuerySink(where, where.names[1], layout, address)
