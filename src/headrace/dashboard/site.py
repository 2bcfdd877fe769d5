"""All pages, figures and writes that there are."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.dashboard.pages import (
    data,
    drift,
    health,
    models,
    overview,
    prediction,
    rows,
    runs,
    series,
    simulate,
    simulated,
    stream,
    system,
)
from headrace.dashboard.parts import Draw, PageRoute, WriteRoute

PAGES: tuple[PageRoute, ...] = (
    PageRoute("/", "overview.html", overview.overview),
    PageRoute("/systems/{name}", "system.html", system.system),
    PageRoute("/systems/{name}/models", "models.html", models.models),
    PageRoute("/systems/{name}/models/{version}", "model.html", models.model),
    PageRoute("/systems/{name}/simulate", "simulate.html", simulate.simulate),
    PageRoute("/systems/{name}/simulate/{simulation_id}", "simulated.html", simulated.simulated),
    PageRoute("/systems/{name}/data", "data.html", data.data),
    PageRoute("/systems/{name}/runs", "runs.html", runs.runs),
    PageRoute("/systems/{name}/runs/{run_id}", "run.html", runs.run),
    PageRoute("/systems/{name}/rows", "rows.html", rows.rows),
    PageRoute("/systems/{name}/series", "series.html", series.series),
    PageRoute("/systems/{name}/drift", "drift.html", drift.drift),
    PageRoute("/systems/{name}/stream", "stream.html", stream.stream),
    PageRoute("/systems/{name}/health", "health.html", health.health),
    PageRoute("/installation", "installation.html", health.installation),
    PageRoute("/predictions/{prediction_id}", "prediction.html", prediction.prediction),
)
FIGURES: Mapping[str, Draw] = {
    "forecast": system.forecast,
    "error": system.error,
    "coverage": system.coverage,
    "ingests": data.ingests,
    "series": series.compared,
    "calibration": rows.calibration,
    "simulated_error": simulated.error,
    "simulated_alerts": simulated.alerts,
    "simulated_trainings": simulated.trainings,
}
WRITES: tuple[WriteRoute, ...] = (
    WriteRoute("/systems/{name}/models/{version}/promote", models.promote),
    WriteRoute("/systems/{name}/models/{version}/reject", models.reject),
    WriteRoute("/systems/{name}/rollback", models.roll_back),
    WriteRoute("/systems/{name}/quarantine/release", data.release),
    WriteRoute("/systems/{name}/dead-letters/resend", stream.resend),
    WriteRoute("/systems/{name}/rows", rows.predict),
    WriteRoute("/systems/{name}/simulate", simulate.start),
    WriteRoute("/systems/{name}/simulate/{simulation_id}/cancel", simulate.cancel),
)
