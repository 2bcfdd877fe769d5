"""An event that the champion does not know says who does."""

from datetime import timedelta

from tests.serving.stream import worlds

from headrace.flow.run import Request, run
from headrace.pipelines import training


def test_a_letter_names_the_version_that_knows_the_series(tmp_path, monkeypatch):
    home = worlds.train(tmp_path)
    event = worlds.message(0, "metric_0009", worlds.TRAINED + timedelta(hours=1), 5.0)

    def reason():
        ((_, said),) = worlds.engine(worlds.champion(home)).answer([event], keyless=True).dead
        return said

    assert reason() == 'unknown series ["metric_0009"]: model version 1 was not fitted on it'
    later, source = (
        worlds.TRAINED + timedelta(days=2),
        worlds.SOURCE.replace("series=8", "series=10").replace("20", "30"),
    )
    monkeypatch.setattr(training, "_compare", lambda *_: ("does not beat version 1", False))
    run(worlds.system(), home, Request(later, later, source, ("ingest", "validate", "train"), retrain=True))
    assert reason().endswith("was not fitted on it; version 2 knows it, but is not the champion")
