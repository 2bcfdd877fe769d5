"""What is known about a version lies beside its files: it does not change their digest, and has its own."""

from datetime import UTC, datetime

import pytest

from headrace.errors import ArtefactError
from headrace.registry.artefact import ABOUT_FOLDER, ArtefactCache, folder_digest
from headrace.tasks.importance import Importance

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def model(folder, card):
    folder.mkdir()
    (folder / "model.txt").write_text("weights")
    (folder / ABOUT_FOLDER).mkdir()
    (folder / ABOUT_FOLDER / "card.json").write_text(card)
    return folder


def test_what_is_said_of_a_model_is_no_part_of_its_digest(tmp_path):
    one, other = model(tmp_path / "one", "a"), model(tmp_path / "other", "b")
    assert folder_digest(one, without=ABOUT_FOLDER) == folder_digest(other, without=ABOUT_FOLDER)
    assert folder_digest(one / ABOUT_FOLDER) != folder_digest(other / ABOUT_FOLDER)


def test_a_damaged_card_is_not_taken_for_whole(tmp_path):
    said = model(tmp_path / "one", "a") / ABOUT_FOLDER
    cache, digest = ArtefactCache(tmp_path / "cache"), folder_digest(said)
    placed = cache.place(digest, lambda target: (target / "card.json").write_text("a"))
    assert cache.get(digest) == placed
    (placed / "card.json").write_text("b")
    assert cache.get(digest) is None


def test_importance_is_read_back_as_it_was_written(tmp_path):
    importance = Importance.of({"a": 1.0, "b": 3.0}, 100, "log odds", {"a": 30.0, "b": 10.0})
    importance.save(tmp_path)
    assert Importance.load(tmp_path) == importance
    assert [(one.feature, one.share, one.gain) for one in importance.features] == [("b", 0.75, 0.25), ("a", 0.25, 0.75)]
    assert importance.shares == {"b": 0.75, "a": 0.25}
    (tmp_path / "importance.json").write_text("{")
    with pytest.raises(ArtefactError, match="damaged"):
        Importance.load(tmp_path)
    with pytest.raises(ArtefactError, match="does not say"):
        Importance.load(tmp_path / "none")


def test_one_without_features_says_why():
    (_, sentence) = Importance(reason="nothing was learnt").sections()
    assert sentence.text == "Its model cannot tell: nothing was learnt."
