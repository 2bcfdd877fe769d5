"""An event that the champion does not know says who does."""

from datetime import timedelta

from tests.worlds import stream as worlds

from headrace.flow.run import RunRequest, run
from headrace.tasks import gate


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
    monkeypatch.setattr(gate, "_compared", lambda *_: ("does not beat version 1", False))
    run(worlds.system(), home, RunRequest(later, later, source, ("ingest", "validate", "train"), retrain=True))
    assert reason().endswith("was not fitted on it; version 2 knows it, but is not the champion")
