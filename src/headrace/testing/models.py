"""What every learner of rows, and every forecaster of frames, must do."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace.features import Features, col, ngrams
from headrace.models import pickles
from headrace.models.base import LEARNER_KINDS, Fitted, Learner, Training
from headrace.models.contributions import linear_scale
from headrace.models.encoding import Encoded, Encoder
from headrace.models.explaining import contributions_of

ROWS = 240
HORIZON = 6
BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001  # times of a frame of series have no zone


def rows_of(seed: int) -> tuple[Features, pl.DataFrame]:
    """Features of rows: two numbers, one of them missing at times, and a category."""
    rng = np.random.default_rng(seed)
    size = rng.normal(0, 1, ROWS)
    age = np.where(rng.random(ROWS) < 0.1, np.nan, rng.uniform(0, 80, ROWS))
    frame = pl.DataFrame({"size": size, "age": age, "port": rng.choice(["a", "b", "c"], ROWS)})
    features = Features({name: col(name) for name in frame.columns})
    return features, frame.with_columns(pl.col("age").fill_nan(None))


WORDS = ["red", "blue", "large", "small", "new", "used", "box", "shirt", "shoe", "lamp"]


def listings_of(seed: int) -> tuple[Features, pl.DataFrame]:
    """`rows_of` with a text of a few words, which is empty at times, as n-grams of words and of characters."""
    features, frame = rows_of(seed)
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, rng.integers(0, 6))) for _ in range(ROWS)]
    grams = {"words": ngrams("words", buckets=2**12), "letters": ngrams("words", words=None, characters=(2, 3))}
    table = frame.with_columns(words=pl.Series(texts), letters=pl.Series(texts))
    return features | grams, table


class LearnerSuite:
    """A learner of rows learns, gives the same bits for the same rows and seed, and can be written to a file.

    Give the learner, with settings that make it quick:

        class TestMine(LearnerSuite):
            @pytest.fixture
            def learner(self): return MyLearner()
    """

    @pytest.fixture
    def learner(self) -> Learner:
        """The learner."""
        raise NotImplementedError("say what learns: override the fixture learner")

    def training(self, output: str, seed: int = 0) -> Training:
        """Rows whose target follows from their features."""
        features, frame = rows_of(seed)
        signal = frame["size"].to_numpy() + (frame["port"] == "a").to_numpy() * 2.0
        if output == "regression":
            target, classes = signal, 0
        else:
            classes = 2 if output == "binary" else 3
            edges = np.quantile(signal, np.arange(1, classes) / classes)
            target = np.digitize(signal, edges).astype(float)
        encoder = Encoder.fit(features, frame, target)
        return Training(encoder.training(frame), encoder, target, output, classes, seed=1)

    def training_on_ngrams(self, output: str, seed: int = 0) -> Training:
        """Rows whose target follows from a word and a category."""
        features, frame = listings_of(seed)
        signal = frame["words"].str.contains("red").to_numpy() * 2.0 + (frame["port"] == "a").to_numpy()
        classes = {"regression": 0, "binary": 2}.get(output, 4)
        target = signal if output == "regression" else signal >= 2 if output == "binary" else signal
        rows = Encoder.fitted(features, frame, target.astype(float))
        return Training(rows, rows.encoder, target.astype(float), output, classes, seed=1)

    def fitted(self, learner: Learner) -> list[tuple[Training, Fitted]]:
        """The learner, fitted for every output that it can be asked for."""
        return [(training := self.training(output), learner.fit(training)) for output in learner.outputs]

    def test_it_is_known_by_its_kind(self, learner: Learner) -> None:
        assert LEARNER_KINDS.of(learner.kind) is type(learner)
        written = learner.model_dump(mode="json")
        assert written["kind"] == learner.kind
        assert type(learner)(**written).model_dump(mode="json") == written

    def test_it_learns(self, learner: Learner) -> None:
        for training, model in self.fitted(learner):
            scores, target = model.scores(training.rows), training.target
            if training.output == "regression":
                assert np.mean((scores - target) ** 2) < np.var(target)
            elif training.output == "binary":
                assert scores[target == 1].mean() > scores[target == 0].mean()
            else:
                assert np.mean(scores.argmax(axis=1) == target) > 1.3 / training.classes

    def test_scores_have_the_shape_of_the_output(self, learner: Learner) -> None:
        for training, model in self.fitted(learner):
            scores = model.scores(training.rows)
            several = training.output == "multiclass"
            assert scores.shape == ((ROWS, training.classes) if several else (ROWS,))
            assert scores.dtype == np.float64
            assert np.isfinite(scores).all()
            if training.output != "regression":
                assert ((scores >= 0) & (scores <= 1)).all()
            if several:
                assert np.allclose(scores.sum(axis=1), 1)

    def test_the_same_rows_and_seed_give_the_same_bits(self, learner: Learner) -> None:
        for (training, one), (_, two) in zip(self.fitted(learner), self.fitted(learner), strict=True):
            assert one.scores(training.rows).tobytes() == two.scores(training.rows).tobytes()

    def test_a_row_has_its_score_whoever_its_neighbours_are(self, learner: Learner) -> None:
        for training, model in self.fitted(learner):
            encoder, (_, frame) = training.encoder, rows_of(7)
            rows = encoder.of_frame(frame)
            scores = model.scores(rows)
            for place in (0, 17, ROWS - 1):
                features = frame.row(place)
                single = model.score(rows.matrix[place].tolist(), features, encoder)
                assert np.asarray(single).tobytes() == np.asarray(scores[place]).tobytes()
            part: Encoded = encoder.of_frame(frame[10:30])
            assert model.scores(part).tobytes() == scores[10:30].tobytes()

    def test_it_reads_ngrams_of_a_row_as_of_many(self, learner: Learner, tmp_path: Path) -> None:
        """Where the learner says that it does."""
        if not learner.reads_ngrams:
            return
        for output in learner.outputs:
            training = self.training_on_ngrams(output)
            model, again = learner.fit(training), learner.fit(training)
            encoder, (_, frame) = training.encoder, listings_of(7)
            scores = model.scores(encoder.of_frame(frame))
            model.save(tmp_path / output)
            loaded = type(learner).fitted.load(tmp_path / output)
            for place in (0, 17, ROWS - 1):
                single = loaded.score(encoder.row(frame.row(place)), frame.row(place), encoder)
                assert np.asarray(single).tobytes() == np.asarray(scores[place]).tobytes()
            part = encoder.of_rows(frame[10:30].rows())
            assert model.scores(part).tobytes() == scores[10:30].tobytes()
            assert again.scores(training.rows).tobytes() == model.scores(training.rows).tobytes()
            contributions, _ = contributions_of(model, part, output)
            assert np.allclose(contributions.total, linear_scale(scores[10:30], output), rtol=1e-6, atol=1e-6)
            if output != "multiclass":
                assert np.corrcoef(model.scores(training.rows), training.target)[0, 1] > 0.7

    def test_it_is_read_from_its_file_as_it_was(self, learner: Learner, tmp_path: Path) -> None:
        for training, model in self.fitted(learner):
            path = tmp_path / f"{training.output}.model"
            reloaded = tmp_path / f"{training.output}.again"
            model.save(path)
            model.save(reloaded)
            assert path.read_bytes() == reloaded.read_bytes()
            loaded = type(learner).fitted.load(path)
            assert loaded.scores(training.rows).tobytes() == model.scores(training.rows).tobytes()

    def test_contributions_sum_to_the_score(self, learner: Learner) -> None:
        """Where the learner has the optional method; else it is asked for rows between the typical one and each."""
        for training, model in self.fitted(learner):
            rows = training.encoder.of_frame(rows_of(7)[1][:12])
            contributions, _ = contributions_of(model, rows, training.output)
            width = training.classes if training.output == "multiclass" else 1
            assert contributions.base.shape == (width,)
            assert contributions.parts.shape == (12, len(training.encoder.names), width)
            scale = linear_scale(model.scores(rows), training.output)
            assert np.allclose(contributions.total, scale, rtol=1e-6, atol=1e-6)

    def test_it_goes_to_other_processes_and_threads(self, learner: Learner) -> None:
        for training, model in self.fitted(learner):
            expected = model.scores(training.rows).tobytes()
            sent = pickle.loads(pickle.dumps(model))  # noqa: S301  # it was made here
            with ThreadPoolExecutor(4) as pool:
                scores = pool.map(sent.scores, [training.rows] * 8)
                assert {score.tobytes() for score in scores} == {expected}


def series_of(count: int = 3, steps: int = 120) -> pl.DataFrame:
    """Hourly series as a long frame: ``unique_id ds y``, in order."""
    hours = np.arange(steps)
    parts = [
        pl.DataFrame(
            {
                "unique_id": [f"s{number}"] * steps,
                "ds": [BEGIN + timedelta(hours=int(hour)) for hour in hours],
                "y": 10.0 * (number + 1) + 3 * np.sin(hours / 24 * 2 * np.pi),
            }
        )
        for number in range(count)
    ]
    return pl.concat(parts)


class ForecasterSuite:
    """A forecaster of frames forecasts every step of every series, from what it is given and nothing else.

    Give the forecaster, anything with ``fit(frame)`` and ``predict(frame, horizon)``; see `FrameForecaster`:

        class TestMine(ForecasterSuite):
            @pytest.fixture
            def forecaster(self): return MyForecaster()
    """

    @pytest.fixture
    def forecaster(self) -> Any:
        """The forecaster, not fitted yet; a new one for every call of the fixture."""
        raise NotImplementedError("say what forecasts: override the fixture forecaster")

    def fitted(self, forecaster: Any) -> Any:
        """What `fit` gives, on all series."""
        answer = forecaster.fit(series_of())
        return forecaster if answer is None else answer

    def forecasts(self, model: Any, frame: pl.DataFrame) -> pl.DataFrame:
        """Its forecasts as a polars frame, by series and time."""
        answer = model.predict(frame, HORIZON)
        if not isinstance(answer, pl.DataFrame):
            answer = pl.from_pandas(answer)
        return answer.sort("unique_id", "ds")

    def test_it_forecasts_the_steps_that_follow(self, forecaster: Any) -> None:
        frame = series_of()
        answer = self.forecasts(self.fitted(forecaster), frame)
        end = frame["ds"].max()
        assert isinstance(end, datetime)
        steps = [end + timedelta(hours=step) for step in range(1, HORIZON + 1)]
        for _, one in answer.group_by("unique_id"):
            assert one["ds"].cast(pl.Datetime("us")).to_list() == steps
        assert set(answer["unique_id"]) <= set(frame["unique_id"])
        assert answer.height > 0

    def test_forecasts_are_numbers(self, forecaster: Any) -> None:
        answer = self.forecasts(self.fitted(forecaster), series_of())
        columns = [name for name in answer.columns if name not in ("unique_id", "ds")]
        assert columns
        assert all(np.isfinite(answer[name].cast(float).to_numpy()).all() for name in columns)

    def test_asked_again_it_says_the_same(self, forecaster: Any) -> None:
        model, frame = self.fitted(forecaster), series_of()
        assert self.forecasts(model, frame).equals(self.forecasts(model, frame))

    def test_what_it_is_given_stays_as_it_is(self, forecaster: Any) -> None:
        model, frame = self.fitted(forecaster), series_of()
        before = frame.clone()
        self.forecasts(model, frame)
        assert frame.equals(before)

    def test_a_series_is_forecast_without_the_others(self, forecaster: Any) -> None:
        model, frame = self.fitted(forecaster), series_of()
        single = self.forecasts(model, frame.filter(pl.col("unique_id") == "s1"))
        among = self.forecasts(model, frame).filter(pl.col("unique_id") == "s1")
        assert single.select(sorted(single.columns)).equals(among.select(sorted(among.columns)))

    def test_it_is_kept_and_read_as_it_was(self, forecaster: Any, tmp_path: Path) -> None:
        model, frame = self.fitted(forecaster), series_of()
        pickles.save(model, tmp_path / "kept")
        assert self.forecasts(pickles.load(tmp_path / "kept"), frame).equals(self.forecasts(model, frame))
