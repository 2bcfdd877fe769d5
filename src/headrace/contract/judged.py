"""Every rule of a contract beside what a check says: how many rows broke it, which share, and examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from headrace.contract.column import Column
from headrace.contract.declared import Contract
from headrace.contract.finding import Finding
from headrace.contract.reason import labels_of
from headrace.contract.table import MISSING, refusal, rules_of

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract.outcome import CheckOutcome

EXAMPLES = 3
"""Rows that are shown of each rule that was broken."""
_LOOKED_AT = 10_000
_CUT = 1_000


def judged_rules(contract: Contract, outcome: CheckOutcome) -> list[dict[str, Any]]:
    """What every rule said: ``rule column severity passed failed rows share message numbers examples[]``, JSON-ready.

    First the rules over rows, those of the contract and what else was wrong with rows, then the rules over the batch,
    whose ``numbers`` hold their shares and bands. ``failed`` and ``share`` are null where a rule does not count rows.

    Args:
        contract: What the rows must look like.
        outcome: What the check said of them.
    """
    counts = {_key(label): (label, count) for label, count in outcome.reasons.items()}
    examples = _examples(outcome.bad)
    rules = []
    for column in contract.columns:
        for keyword, text in _row_rules(column):
            key = _key(f"{column.name}: {text}")
            _, failed = counts.pop(key, ("", 0))
            rules.append(_row_rule(keyword, column.name, text, failed, outcome.known, examples.get(key, [])))
    for key, (label, failed) in counts.items():
        head, colon, rest = label.partition(": ")
        named = bool(colon) and head in contract.names
        column_name, text = (head, rest) if named else (None, label)
        rules.append(_row_rule("row", column_name, text, failed, outcome.known, examples.get(key, [])))
    return [*rules, *map(_batch_rule, outcome.findings)]


def _row_rules(column: Column) -> Iterator[tuple[str, str]]:
    """The rules that each value of a column is held to: the field that declares one, and what is said."""
    yield "type", refusal(column)
    if not column.nullable:
        yield "nullable", MISSING
    for rule in rules_of(column):
        yield rule.keyword, rule.said


def _row_rule(
    rule: str, column: str | None, text: str, failed: int, rows: int, examples: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "rule": rule,
        "column": column,
        "severity": "quarantine",
        "passed": not failed,
        "failed": failed,
        "rows": rows,
        "share": failed / rows if rows else 0.0,
        "message": text,
        "numbers": {},
        "examples": examples,
    }


def _batch_rule(finding: Finding) -> dict[str, Any]:
    numbers: Mapping[str, Any] = finding.numbers
    rule = {"rule": finding.rule, "column": finding.column, "severity": finding.severity, "passed": finding.passed}
    counted = {"failed": numbers.get("count"), "rows": numbers.get("rows"), "share": numbers.get("share")}
    return {**rule, **counted, "message": finding.message, "numbers": dict(numbers), "examples": []}


def _examples(bad: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The first rows that broke each rule, by the rule's key."""
    import polars as pl

    if bad.is_empty():
        return {}
    labelled = bad.head(_LOOKED_AT).select("row", pl.col("reasons").alias("reason")).explode("reason")
    labelled = labelled.with_columns(labels_of(pl.col("reason")).alias("label"))
    first = labelled.group_by("label", maintain_order=True).head(EXAMPLES)
    examples: dict[str, list[dict[str, Any]]] = {}
    for label, row, reason in first.select("label", "row", "reason").iter_rows():
        examples.setdefault(_key(label), []).append({"row": row[:_CUT], "reason": reason[:_CUT]})
    return examples


def _key(label: str) -> str:
    """What two ways of saying one rule have in common."""
    return label.replace(": is ", ": ", 1)
