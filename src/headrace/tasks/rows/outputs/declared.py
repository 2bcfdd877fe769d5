"""Which output a system has: what its model and contract declare, and where they leave it open what is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.errors import DeclarationError
from headrace.home import RAW, Home
from headrace.models.tabular import Tabular, declared_values
from headrace.system import System
from headrace.tasks.rows.outputs.base import Kind, Output, output_class

if TYPE_CHECKING:
    from headrace.contract import Column


def model_of(system: System) -> Tabular:
    """The model of a system that scores rows.

    Raises:
        DeclarationError: It is not one of rows.
    """
    if not isinstance(system.model, Tabular):
        hint = "a system without a horizon needs a Classifier() or a Regressor()"
        raise DeclarationError("this model does not score rows", where="model", hint=hint)
    return system.model


def output_with(system: System, values: Sequence[Any]) -> Output:
    """The output of a system whose target has these values, unless the contract declares others.

    Args:
        system: The declaration.
        values: Of the target, as far as they are known; only a discrete one asks for them.
    """
    model, target = model_of(system), system.contract.column(system.target)
    values = (declared_values(target) or values) if model.discrete else ()
    return _output(model.output(values), model, target, values)


def _output(kind: str, model: Tabular, target: Column, values: Sequence[Any]) -> Output:
    return replace(output_class(kind).of(model, target, values), further=model.further)


def output_of(system: System, home: Home) -> Output:
    """The output of a system: of classes that are not declared those of the champion, or else those of the data.

    Args:
        system: The declaration.
        home: Where the champion and the data are; they are read only where the declaration leaves classes open.

    Raises:
        DeclarationError: The system does not score rows.
        StoreError: They cannot be read.
    """
    if not model_of(system).discrete or declared_values(system.contract.column(system.target)):
        return output_with(system, ())
    champion = home.registry.champion(system.name)
    classes = None if champion is None else champion.params.get("classes")
    return output_with(system, _values(system, home) if classes is None else classes)


def columns_of(system: System) -> dict[str, tuple[Kind, bool]]:
    """The columns beside the target as they are declared, and whether each is there for certain.

    Where the declaration leaves open how many classes there are, these are the columns of either output.

    Args:
        system: The declaration.
    """
    model, target = model_of(system), system.contract.column(system.target)
    values = declared_values(target) if model.discrete else ()
    values_all = (range(2), range(3)) if values is None else (values,)
    outputs = {model.output(some): some for some in values_all}
    columns_all = [_output(kind, model, target, tuple(some)).columns_beside for kind, some in outputs.items()]
    kinds = {name: kind for columns in columns_all for name, kind in columns.items()}
    return {name: (kind, all(name in columns for columns in columns_all)) for name, kind in kinds.items()}


def _values(system: System, home: Home) -> list[Any]:
    """The values that the target has had, sorted."""
    import polars as pl

    table = home.table(system.name, RAW)
    if not table.exists():
        return []
    values = table.collect(table.scan().select(pl.col(system.target).unique()))[system.target]
    return list(values.drop_nulls().sort().to_list())
