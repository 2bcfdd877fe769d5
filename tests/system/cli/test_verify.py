"""`verify` on a home that lost something: found, refused, put back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.commands import AS_OF, ENERGY, SMALL, copy_of_trained, energy, headrace, rows, write

from headrace.store.seal import opened


@pytest.mark.parametrize("table", ["raw", "predictions", "runs"])
def test_a_lost_commit_is_found_by_verify_run_and_doctor_and_put_back(table, template, tmp_path):
    home = copy_of_trained(template, tmp_path / "home")
    uri = write(tmp_path / "more.csv", rows(AS_OF, 3))
    shown = headrace("predictions", ENERGY, "--home", home, "--json").json
    whole = headrace("verify", "--home", home, "--deep", "--json")
    assert whole.code == 0, whole.out
    assert {each["name"] for each in whole.json["tables"]} >= {"raw", "predictions", "runs"}
    assert all(each["ok"] and each["rows"] and each["problems"] == [] for each in whole.json["tables"])
    max(Path(home, "store", "energy", table, "_delta_log").glob("*.json")).unlink()
    lost = headrace("verify", ENERGY, "--home", home, "--json")
    assert lost.code == 1
    assert [each["name"] for each in lost.json["tables"] if not each["ok"]] == [table]
    assert not lost.json["ok"]
    assert headrace("doctor", "--home", home).code == 1
    for command in ("run", "ingest", "predict"):
        refused = energy(command, home, *(("--source", uri) if command != "predict" else ()))
        assert refused.code == 1
        assert refused.json["error"] == "CorruptTableError"
    assert headrace("verify", "--home", home).code == 1
    assert headrace("verify", "--home", home, "--repair").code == 0
    assert headrace("verify", "--home", home, "--deep").code == 0
    assert headrace("predictions", ENERGY, "--home", home, "--json").json == shown
    assert energy("run", home, "--source", uri, as_of=AS_OF + timedelta(hours=2)).code == 0


@pytest.mark.parametrize("how", ["gone", "flipped"])
@pytest.mark.parametrize("table", ["predictions", "metrics", "features-*"])
def test_what_can_be_made_again_is_made_again_as_it_was(table, how, template, tmp_path):
    home = copy_of_trained(template, tmp_path / "home")
    uri = write(tmp_path / "more.csv", rows(AS_OF, 8))
    for hours in (2, 6):
        assert energy("run", home, "--source", uri, as_of=AS_OF + timedelta(hours=hours)).code == 0
    shown = headrace("predictions", ENERGY, "--home", home, "--json").json
    for path in list(Path(home, "store", "energy").glob(f"{table}/*.parquet"))[:2]:
        if how == "gone":
            path.unlink()
        else:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    assert headrace("verify", ENERGY, "--home", home, "--deep").code == 1
    done = headrace("verify", ENERGY, "--home", home, "--deep", "--repair", "--json", *SMALL)
    assert done.code == 0, done.out
    assert headrace("predictions", ENERGY, "--home", home, "--json").json == shown
    again = energy("run", home, "--source", uri, as_of=AS_OF + timedelta(hours=6)).json
    assert again["stored"] == 0
    assert again["matured"] > 0


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff\xfe junk", b'{"keys": 3}'])
@pytest.mark.parametrize("name", ["shape.json", "grid.json"])
def test_a_damaged_small_file_is_named_with_what_to_do(name, text, template, tmp_path):
    home = copy_of_trained(template, tmp_path / "home")
    note = Path(home, "store", "energy", name)
    whole = note.read_bytes()
    note.write_bytes(text)
    refused = energy("predict", home, as_of=AS_OF)
    assert (refused.code, refused.json["error"]) == (1, "CorruptTableError"), refused.out
    assert (refused.json["where"], "delete it" in refused.json["hint"]) == (str(note), True)
    found = headrace("verify", "--home", home, "--json")
    assert found.code == 1
    assert [each["name"] for each in found.json["tables"] if not each["ok"]] == [name]
    note.unlink()
    assert energy("predict", home, as_of=AS_OF).code == 0
    assert name == "shape.json" or note.read_bytes() == whole


def test_small_files_of_an_earlier_headrace_are_sealed_as_they_are(template, tmp_path):
    home = copy_of_trained(template, tmp_path / "home")
    files = [Path(home, "store", "energy", name) for name in ("grid.json", "shape.json", "_tables/raw.json")]
    whole = [file.read_bytes() for file in files]
    for file in files:
        file.write_bytes(opened(file.read_bytes()))  # which is what was written before there were seals
    refused = energy("predict", home, as_of=AS_OF)
    assert "headrace verify --repair seals it as it is" in refused.json["hint"]
    assert headrace("verify", "--home", home).code == 1
    assert headrace("verify", "--home", home, "--repair").code == 0
    assert [file.read_bytes() for file in files] == whole
    assert energy("predict", home, as_of=AS_OF).code == 0


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("what", ["mlruns/energy/*/artifacts/model/model.json", "models/*/member_0.txt"])
@pytest.mark.parametrize("harm", [Path.unlink, flip])
def test_a_models_files_are_compared_too(what, harm, template, tmp_path):
    home = copy_of_trained(template, tmp_path / "home")
    paths = list(home.glob(what))  # a training that was tried twice leaves files of no version
    for path in paths:
        harm(path)
    found = headrace("verify", "--home", home, "--deep", "--json")
    (bad,) = [each for each in found.json["tables"] if not each["ok"]]
    assert found.code == 1
    assert bad["name"] in {str(path.parent.relative_to(home)) for path in paths}
    assert "version 1 of energy" in bad["problems"][0]


@pytest.mark.parametrize("text", [None, b"", b"SQLite format 3\x00 no more", b"\xff" * 9000])
def test_a_damaged_tracking_database_is_named(text, template, tmp_path):
    home = copy_of_trained(template, tmp_path / "home")
    path = home / "mlflow.db"
    path.unlink() if text is None else path.write_bytes(text)
    found = headrace("verify", "--home", home, "--json")
    assert found.code == 1
    assert {each["name"] for each in found.json["tables"] if not each["ok"]} == {"mlflow.db"}


def test_a_damaged_ledger_is_named(template, tmp_path):
    home = copy_of_trained(template, tmp_path / "home")
    (home / "ledger.db").write_bytes(b"no database")
    found = headrace("verify", "--home", home, "--json")
    assert [each["name"] for each in found.json["tables"] if not each["ok"]] == ["ledger.db"]
    assert "backup" in found.json["tables"][-1]["problems"][0]


@pytest.mark.parametrize(
    ("table", "hint"), [("raw", "only a backup has them: put back part-"), ("metrics", "--repair")]
)
def test_lost_rows_are_told_with_where_they_come_back_from(table, hint, template, tmp_path):
    home = copy_of_trained(template, tmp_path / "home")
    for path in Path(home, "store", "energy", table).glob("*.parquet"):
        flip(path)
    found = headrace("verify", "--home", home, "--deep", "--json").json
    (bad,) = [each for each in found["tables"] if not each["ok"]]
    assert hint in bad["hint"]
    assert "rows of version" in bad["problems"][0]
    assert hint in headrace("verify", "--home", home, "--deep").out
