"""Systems as a whole: what is listed, measured, pruned, renamed and deleted, and that a killed change is finished."""

from __future__ import annotations

from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from unittest.mock import ANY

import polars as pl
import pytest
from tests.commands import headrace

import headrace as hr
from headrace.errors import ArtefactError, HeadraceError, NotFoundError, UsageError
from headrace.flow.verify import verify
from headrace.housekeeping import changes
from headrace.ledger.audit import AuditEntry
from headrace.tasks import gate, task_of

BEGIN, END = "2023-01-20T16:00:00Z", "2023-01-20T20:00:00Z"


def renamed(home, to="power"):
    home.rename("energy", to)
    return home


def test_a_renamed_system_keeps_ids_models_and_replay(s):
    home, before = s.workspace, s.predictions()
    assert home.rename("energy", "power") == {
        "system": "energy",
        "to": "power",
        "tables": home.reading.store.tables("power"),
        "models": 1,
    }
    assert home.systems() == ["power"]
    one = before["id"][0]
    assert (home.trace(one)["system"], home.replay(one)["identical"]) == ("power", True)
    power = home.system(s.declaration.model_copy(update={"name": "power"}))
    assert power.predictions().equals(before)
    assert power.predict(BEGIN).stored == 0  # the same pins: nothing new, under the ids that they have
    assert power.train(BEGIN, simulated=True).model["version"] == 1
    assert verify(home.reading, deep=True)["ok"]
    with pytest.raises(NotFoundError, match="nothing is stored of 'energy'"):
        home.rename("energy", "wind")


@pytest.mark.parametrize("part", ["ledger.owned.rename", "registry.rename", "store.folders.move", "changes.finish"])
def test_a_renaming_that_died_is_finished_by_the_same_command(s, monkeypatch, part):
    home, one = s.workspace, s.predictions()["id"][0]
    home.home.ledger  # noqa: B018  # is made, so that it has a part in it
    _dies_in(monkeypatch, part)
    with pytest.raises(KeyboardInterrupt):
        home.rename("energy", "power")
    monkeypatch.undo()
    again = hr.open(home.path, quiet=True)
    for name in ("energy", "power"):
        with pytest.raises(UsageError, match="begun and not finished") as told:
            again.system(s.declaration.model_copy(update={"name": name})).run(BEGIN)
        assert told.value.hint == "finish it: headrace rename energy power"
    with pytest.raises(UsageError, match="begun and not finished"):
        again.rename("energy", "wind")
    again.rename("energy", "power")
    assert (again.systems(), again.replay(one)["identical"]) == (["power"], True)
    assert verify(again.reading, deep=True)["ok"]
    assert changes.pending(again.reading, "power") is None


def test_the_audit_trail_of_a_renamed_system_goes_along(s):
    trail, at = s.workspace.home.ledger.audit, datetime(2023, 1, 20, tzinfo=UTC)
    for system in ("energy", "wind"):
        trail.put(AuditEntry(at, "ann", "promote", system, "2", {"reason": "better"}, "done", "r1"))
    renamed(s.workspace)
    assert trail.newest(["energy"]) == []
    assert [(number, entry.system, entry.by) for number, entry in trail.newest(["power"])] == [(1, "power", "ann")]
    assert [entry.system for _, entry in trail.newest(["wind"])] == ["wind"]


def test_a_name_that_is_taken_or_no_good_is_refused(s):
    home = s.workspace
    for to in ("Power", "energy", "1st"):
        with pytest.raises(UsageError, match="is not a good name"):
            home.rename("energy", to)
    home.home.table("wind", "raw").append(
        pl.DataFrame({"k": ["a"], "known_at": [datetime(2023, 1, 1, tzinfo=UTC)]}),
        identity=["k"],
        compare=["k"],
        window="k",
    )
    with pytest.raises(UsageError, match="already"):
        home.rename("energy", "wind")
    assert changes.pending(home.reading, "energy") is None


@pytest.mark.parametrize("name", ["", ".", "..", "energy/", "./energy", "../store/energy", "/etc", "energy\n"])
def test_a_path_is_no_name_of_a_system(s, name):
    home = s.workspace
    for change in (home.delete, home.holdings, home.disk, lambda n: home.rename(n, "power")):
        with pytest.raises(UsageError, match="cannot name a system"):
            change(name)
    with pytest.raises(UsageError, match="cannot name a system"):
        home.prune("90d", system=name, dry=False)
    with pytest.raises(UsageError, match="is not a good name"):
        home.rename("energy", name)
    assert home.systems() == ["energy"]


@pytest.mark.parametrize("part", [None, "ledger.owned.forget", "registry.forget", "store.folders.remove"])
def test_a_deleted_system_leaves_nothing_and_its_name_is_free(s, copies, monkeypatch, part):
    home, other = s.workspace, next(copies)  # which was copied from the same one, and has its files
    home.home.ledger  # noqa: B018
    if part is not None:
        _dies_in(monkeypatch, part)
        with pytest.raises(KeyboardInterrupt):
            home.delete("energy")
        monkeypatch.undo()
        with pytest.raises(UsageError, match="begun and not finished"):
            s.run(BEGIN)
        home = hr.open(home.path, quiet=True)
    gone = home.delete("energy")
    assert (gone["system"], gone["models"]) == ("energy", 1)
    assert home.systems() == []
    assert not [p for p in home.path.rglob("*") if p.is_file() and "energy" in str(p.relative_to(home.path))]
    assert not [p for p in (home.path / "models").glob("*") if p.name != ".lock"]
    assert verify(other.workspace.reading, deep=True)["ok"]
    with pytest.raises(NotFoundError):
        home.delete("energy")
    if part is None:
        run = s.run(BEGIN)
        assert run.model["promoted"]
        assert s.replay(run.predictions["id"][0])["identical"]
        assert verify(home.reading, deep=True)["ok"]


def test_what_was_pruned_takes_no_pin_of_what_is_kept(s):
    home = s.workspace
    s.backfill(BEGIN, END, "1h", workers=1)
    for n, trees in enumerate((6, 7, 8, 9)):
        settings = ["source.lag=0h", f"model.n_estimators={trees}", "model.max_rows=1000"]
        other = home.system(s.declaration, settings)
        assert other.train("2023-01-20T20:00:00Z").model["version"] == n + 2
    with pytest.raises(HeadraceError):
        s.run("2023-01-20T16:00:00Z", source="file:no-such-file.csv")
    later = hr.open(home.path, clock=lambda: datetime(2023, 8, 1, tzinfo=UTC), quiet=True)
    before = later.prune("90d", runs=2)
    assert later.prune("90d", runs=2).equals(before)  # it only told
    told = {row["kind"]: row for row in before.to_dicts() if row["kind"] != "replaced"}
    assert told["models"]["files"] > 0
    assert later.prune("90d", runs=2, dry=False).height >= before.height
    after = {row["kind"] for row in later.prune("90d", runs=2).to_dicts()}
    assert not after & {"runs", "quarantine", "metrics", "models"}
    system = later.system(s.declaration)
    kept = system.predictions()
    assert kept.height == 5 * 96
    for one in kept.filter(pl.col("ahead") == 1).unique("run_id")["id"]:
        trace = later.trace(one)
        assert trace["run"] is not None
        assert later.replay(one)["identical"]
    assert verify(later.reading, deep=True) == {"tables": ANY, "ok": True}
    gone = next(n for n in range(2, 6) if n in _pruned(later))
    with pytest.raises(ArtefactError, match="were pruned"):
        system.promote(gone)


def test_old_forecasts_go_where_they_may_and_their_runs_with_them(s):
    home = s.workspace
    s.backfill(BEGIN, "2023-01-26T16:00:00Z", "1d", workers=1)
    before = s.runs.height
    later = hr.open(home.path, clock=lambda: datetime(2023, 1, 30, 12, tzinfo=UTC), quiet=True)
    gone = later.prune("7d", runs=0, predictions=True, dry=False)
    rows = dict(gone.filter(pl.col("kind").is_in(["predictions", "runs"])).select("kind", "rows").iter_rows())
    assert rows["predictions"] == 3 * 96
    kept = later.system(s.declaration).predictions()
    assert kept["as_of"].min() >= datetime(2023, 1, 23, 12, tzinfo=UTC)
    assert later.replay(kept["id"][0])["identical"]
    assert before >= later.system(s.declaration).runs.height


@pytest.mark.parametrize("change", ["delete", "rename"])
@pytest.mark.parametrize("moment", ["fit", "after"])
def test_a_training_beside_a_change_revives_nothing(s, monkeypatch, change, moment):
    home, done = s.workspace, []

    def changed() -> None:
        if not done:
            done.append(home.delete("energy") if change == "delete" else home.rename("energy", "power"))

    if moment == "fit":
        original = TemporaryDirectory
        monkeypatch.setattr(gate.tempfile, "TemporaryDirectory", lambda *a, **k: (changed(), original(*a, **k))[1])
    else:
        task = type(task_of(s.declaration))
        train = task.train
        monkeypatch.setattr(task, "train", lambda *a, **k: (train(*a, **k), changed())[0])
    with pytest.raises(UsageError, match="was deleted or renamed while"):
        s.train(END, simulated=True)
    assert done
    assert home.systems() == ([] if change == "delete" else ["power"])
    assert not (home.path / "store" / "energy").exists()


def test_the_commands_say_what_they_do(s, tmp_path):
    at = ("--home", s.workspace.path)
    (row,) = [r for r in headrace("list", *at, "--systems", tmp_path, "--json").json if r["system"] == "energy"]
    assert (row["where"], row["champion"], row["predictions"], row["status"]) == (["home", "installed"], 1, 96, "done")
    assert "energy" in headrace("list", *at).out
    sizes = headrace("disk", *at, "--json").json
    assert {r["kind"] for r in sizes} >= {"table", "models", "database"}
    assert " MB in " in headrace("disk", *at).out
    assert headrace("prune", *at, "--json").code == 0
    refused = headrace("delete", "energy", *at, "--json")
    assert (refused.code, refused.json["hint"]) == (2, "say that you mean it: --yes")
    assert headrace("rename", "energy", "power", *at, "--json").json["to"] == "power"
    assert "kafka" in headrace("delete", "power", *at, "--yes", "--json").json
    left = headrace("list", *at, "--systems", tmp_path, "--json").json
    assert {where for row in left for where in row["where"]} == {"installed"}


def _pruned(workspace):
    from headrace.registry.records import pruned

    return pruned(workspace.reading.store, "energy")


def _dies_in(monkeypatch, part):
    """The command is killed just before this part of its work."""
    from headrace.housekeeping import changes
    from headrace.ledger.owned import Owned
    from headrace.registry import Registry
    from headrace.store.folders import Folders

    def die(*given, **named):
        raise KeyboardInterrupt

    owner, _, name = part.rpartition(".")
    where = {"ledger.owned": Owned, "registry": Registry, "store.folders": Folders, "changes": changes}[owner]
    monkeypatch.setattr(where, name, die)
