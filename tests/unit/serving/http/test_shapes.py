"""What the server says that it answers, and what the client reads: the same fields, of the same kinds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.client import answers
from headrace.serving.http.schemas import PARTS

PAIRS = {
    "Access": answers.Rights,
    "Alerts": answers.AlertPage,
    "Answers": answers.RowPage,
    "AuditTrail": answers.AuditPage,
    "Comparison": answers.VersionPair,
    "DeadLetters": answers.LetterPage,
    "Findings": answers.HealthFindings,
    "ModelCard": answers.VersionCard,
    "ModelDetail": answers.VersionReport,
    "ModelVersions": answers.VersionList,
    "ModelVersion": answers.VersionBrief,
    "Observations": dict[str, list[answers.ObservedValue]],
    "Overview": answers.Overview,
    "Predictions": answers.StoredForecast,
    "Quarantine": answers.ApartPage,
    "Released": answers.ReleasedRows,
    "Replay": answers.Replayed,
    "Resent": answers.ResentLetters,
    "RunDetail": answers.RunReport,
    "Runs": answers.RunPage,
    "Scores": answers.ScorePage,
    "SeriesFound": answers.SeriesPage,
    "Simulation": answers.SimulationReport,
    "Simulations": answers.SimulationPage,
    "StreamState": answers.StreamReport,
    "System": answers.SystemBrief,
    "TraceGraph": answers.TraceGraph,
    "Verified": answers.CheckedTables,
    "Why": answers.WhyPage,
}


def resolved(schema: dict[str, Any], parts: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """A schema without references, and whether null is one of its values."""
    null = False
    while True:
        if "$ref" in schema:
            schema = parts[schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema and {"type": "null"} in schema["anyOf"]:
            rest = [each for each in schema["anyOf"] if each != {"type": "null"}]
            schema, null = rest[0] if len(rest) == 1 else {"anyOf": rest}, True
        elif isinstance(schema.get("type"), list):
            (kind,) = set(schema["type"]) - {"null"}
            schema, null = {**schema, "type": kind}, null or "null" in schema["type"]
        else:
            return schema, null


def differences(server: dict[str, Any], client: dict[str, Any], parts: dict[str, Any], where: str) -> list[str]:
    """Where the client would refuse, or pass over, what the server says that it may answer."""
    (ours, null), (theirs, may_null) = resolved(server, PARTS), resolved(client, parts)
    found = [f"{where}: may be null for one alone"] if theirs and ours and null and not may_null else []
    if not theirs or not ours:  # anything
        return found
    if "enum" in ours or "enum" in theirs:
        listed = "enum" not in theirs or sorted(map(str, ours.get("enum", ()))) == sorted(map(str, theirs["enum"]))
        return found + ([] if listed else [f"{where}: other values"])
    if ours.get("type") != theirs.get("type"):
        return [*found, f"{where}: {ours.get('type')} and {theirs.get('type')}"]
    if ours.get("type") == "array":
        return found + differences(ours.get("items", {}), theirs.get("items", {}), parts, f"{where}[]")
    if "properties" not in ours or "properties" not in theirs:
        return found
    names = set(ours["properties"]) ^ set(theirs["properties"])
    found += [f"{where}.{name}: only one has it" for name in sorted(names)]
    found += [
        f"{where}.{name}: the client needs what may be left out"
        for name in sorted(set(theirs.get("required", ())) - set(ours["required"]) - names)
    ]
    for name in sorted(set(ours["properties"]) & set(theirs["properties"])):
        found += differences(ours["properties"][name], theirs["properties"][name], parts, f"{where}.{name}")
    return found


@pytest.mark.parametrize("name", PAIRS)
def test_the_client_reads_what_the_server_says(name):
    (schema,), parts = msgspec.json.schema_components([PAIRS[name]], ref_template="#/x/{name}")
    assert differences(PARTS[name], schema, parts, name) == []


def test_every_answer_that_the_client_reads_is_compared():
    kinds = {kind for kind in vars(answers).values() if isinstance(kind, type) and issubclass(kind, answers.ApiAnswer)}
    compared = set(msgspec.json.schema_components(PAIRS.values())[1]) | {"ApiAnswer"}
    assert {kind.__name__ for kind in kinds} == compared
