"""The monitoring report of a system that scores rows: how good its predictions were, and by which model version."""

from __future__ import annotations

from math import inf

from headrace.home import Home
from headrace.lineage import iso
from headrace.system import System
from headrace.tasks.base import ReportRequest
from headrace.tasks.rows.monitoring import completeness_of, read_scores
from headrace.tasks.rows.outputs.base import Output
from headrace.tasks.rows.outputs.declared import model_of, output_of
from headrace.tasks.rows.trials import ALL, BLEND
from headrace.tasks.sections import ReportSentence, ReportTable, Section, TaskReport
from headrace.tasks.verdict import called


def report(system: System, home: Home, request: ReportRequest) -> TaskReport:
    """What its output shows of the scores, and the newest run; see `headrace.tasks.base.Task.report`."""
    scores = read_scores(system, home, request.as_of)
    if scores is None:
        return TaskReport([ReportSentence("No prediction was monitored yet.")], {"predictions": 0, "matured": 0})
    completeness, output = completeness_of(scores), output_of(system, home)
    measures = output.measures(scores, []).row(0, named=True)
    sections: list[Section] = [
        ReportSentence(
            f"{completeness['matured']:,} of {completeness['predictions']:,} predictions of the days "
            f"{completeness['since']:%Y-%m-%d} to {completeness['until']:%Y-%m-%d} have their truth: "
            f"a {system.target} that became known after they were made."
        ),
        *output.report(scores),
        *_tried(system, home, output, request),
        _newest_run(request),
    ]
    return TaskReport(sections, completeness | {name: measures[name] for name in output.metrics_of_sums})


def _tried(system: System, home: Home, output: Output, request: ReportRequest) -> list[Section]:
    """The held-out error of all that the champion was chosen from, the baselines too."""
    champion = home.registry.champion(system.name, request.as_of)
    if champion is None:
        return []
    model, before = model_of(system), f"{output.measure}_"
    losses = {name.removeprefix(before): loss for name, loss in champion.metrics.items() if name.startswith(before)}
    kinds = {**dict.fromkeys(model.names, "member"), **dict.fromkeys(model.baseline_names, "baseline")}
    kinds |= {ALL: "mean of the members", BLEND: "blend of the members"}
    rows = [
        [name, kinds[name], loss, "served" if name == champion.params.get("chosen") else ""]
        for name, loss in sorted(losses.items(), key=lambda item: item[1] or inf)
        if name in kinds
    ]
    title = f"What version {champion.version} was chosen from, by held-out {called(output.measure)}"
    return [ReportTable(title, ["", "kind", called(output.measure), ""], rows)] if rows else []


def _newest_run(request: ReportRequest) -> ReportTable:
    newest, pins = request.last_run, request.record.get("pins") or {}
    rows = [["status", newest["status"]], ["as of", iso(newest["as_of"])]] if newest is not None else []
    pinned = ([name, value] for name, value in pins.items() if name != "as_of")
    return ReportTable("The newest run", ["pin", "value"], [*rows, *pinned])
