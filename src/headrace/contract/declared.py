"""The contract: what the rows of a source must look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from headrace.contract.batch import OfColumn
from headrace.contract.column import Column, Value
from headrace.contract.rules import Rule
from headrace.contract.table import missing_of
from headrace.declaration import Declared, Duration, declaration_error
from headrace.errors import DeclarationError


class Contract(Declared):
    """Column rules and rules over the batch, declared once.

    Args:
        columns: The declared columns; other columns of a source are ignored, and named in the report.
        max_invalid_fraction: The share of bad rows, of those known at ``as_of``, past which a run stops (exit 3).
        missing: Spellings of a missing value, such as ``("NA", "null", -9999)``, in columns that declare none
            themselves. An empty or blank text is a missing value always.
        rules: Rules over the whole batch, such as `Share`, `MeanBand`, `Forbids`, `Gaps`, `MinimumRows`.
        staleness: Shorthand for ``Staleness(at_most=...)``, a warning.
        allow_empty: Whether a source without any row is fine. Otherwise it breaks the contract.

    Raises:
        DeclarationError: A mistake; ``where`` is the field's path, such as ``contract.columns[2].minimum``.
    """

    missing: tuple[Value, ...] = ()
    columns: tuple[Column, ...] = Field(min_length=1)
    max_invalid_fraction: float = Field(default=0.05, ge=0, le=1)
    rules: tuple[Rule, ...] = ()
    staleness: Duration | None = None
    allow_empty: bool = False

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_with_path(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            contract = handler(data)
        except ValidationError as error:
            raise declaration_error(error, "contract") from error
        _refuse_contradictions(contract)
        return contract

    @field_validator("columns", mode="before")
    @classmethod
    def _columns_from_data(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return tuple(
            _column(place, column) if isinstance(column, Mapping) else column for place, column in enumerate(value)
        )

    @field_validator("columns")
    @classmethod
    def _missing_for_all(cls, columns: tuple[Column, ...], info: ValidationInfo) -> tuple[Column, ...]:
        spelled = info.data.get("missing", ())
        if not spelled:
            return columns
        return tuple(c if c.missing is not None else c.model_copy(update={"missing": spelled}) for c in columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The declared names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def aggregates(self) -> bool:
        """Whether its rows are events, which are aggregated into steps."""
        return any(column.aggregate is not None for column in self.columns)

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            DeclarationError: There is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise DeclarationError(
            f"the contract has no column {name!r}",
            where="contract.columns",
            hint=f"it has {', '.join(self.names)}",
        )

    def renamed(self, names: Mapping[str, str]) -> Contract:
        """The same with other names for some columns."""
        columns = tuple(c.model_copy(update={"name": names.get(c.name, c.name)}) for c in self.columns)
        rules = tuple(
            rule.model_copy(update={"column": names.get(rule.column, rule.column)})
            if isinstance(rule, OfColumn)
            else rule
            for rule in self.rules
        )
        return self.model_copy(update={"columns": columns, "rules": rules})

    def naming_begins(self) -> Contract:
        """The same for rows whose times are event times already, whatever they named before."""
        plain = {"label": "begin", "midnight": "begins"}
        columns = tuple(c.model_copy(update=plain) if c.label == "end" else c for c in self.columns)
        return self.model_copy(update={"columns": columns})

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of one row."""
        from headrace.contract.schema import row_schema

        return row_schema(self.columns)


def _refuse_contradictions(contract: Contract) -> None:
    counts: dict[str, int] = {}
    for place, column in enumerate(contract.columns):
        for field, message in column.mistakes():
            raise DeclarationError(message, where=f"contract.columns[{place}].{field}")
        for value in filter(missing_of(column), column.values or ()):
            text = f"{value!r} means a missing value, which nullable=True allows"
            raise DeclarationError(text, where=f"contract.columns[{place}].values")
        if column.name in counts:
            text = f"{column.name!r} is already the name of column {counts[column.name]}"
            raise DeclarationError(text, where=f"contract.columns[{place}].name")
        counts[column.name] = place
    for place, rule in enumerate(contract.rules):
        if isinstance(rule, OfColumn):
            _refuse_rule(contract, rule, f"contract.rules[{place}]")


def _refuse_rule(contract: Contract, rule: OfColumn, where: str) -> None:
    if rule.column not in contract.names:
        text = f"the contract has no column {rule.column!r}"
        raise DeclarationError(text, where=f"{where}.column", hint=f"it has {', '.join(contract.names)}")
    column = contract.column(rule.column)
    if rule.needs == "number" and column.type not in ("float", "integer"):
        text = f"the rule needs a number, {rule.column!r} is {column.type}"
        raise DeclarationError(text, where=f"{where}.column")
    if rule.needs == "text" and not column.textual:
        text = f"the rule needs a text, {rule.column!r} is {column.type}"
        raise DeclarationError(text, where=f"{where}.column")
    for field, message in rule.mistakes():
        raise DeclarationError(message, where=f"{where}.{field}")


def _column(place: int, fields: Mapping[str, Any]) -> Column:
    try:
        return Column(**{"name": "", "type": "", **fields})
    except DeclarationError as error:
        if isinstance(error.__cause__, ValidationError):
            raise declaration_error(error.__cause__, f"contract.columns[{place}]") from error.__cause__
        raise
