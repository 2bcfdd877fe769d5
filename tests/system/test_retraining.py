"""When a system trains again, and who has the last word: by runs, the command line's words, and a backfill."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from tests.templates import template

from headrace import Column, Contract, Linear, Regressor, Schedule, System, Workspace
from headrace.console.reports import run_report
from headrace.contract import MeanBand, MinimumRows, Share
from headrace.errors import ContractBroken
from headrace.features import col
from headrace.flow.result import Result
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.housekeeping.pruning import Retention, prune
from headrace.pipelines import runs
from headrace.pipelines.predictions import trace
from headrace.pipelines.standing_facts import StoredFacts, read_warnings
from headrace.policy import ContractWarning, NewValues
from headrace.serving.http.app import Application
from headrace.serving.http.options import Options
from headrace.settings import Settings
from headrace.tasks.intake import Intake

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def listings(**schedule: object) -> System:
    return System(
        name="listings",
        contract=Contract(
            columns=(
                Column("id", "integer"),
                Column("brand", "category", nullable=True),
                Column("size", "float"),
                Column("price", "float", nullable=True),
            ),
            rules=(
                Share(column="brand", condition="null", at_most=0.2),
                MeanBand(column="price", maximum=100, severity="stop"),
                MinimumRows(min_rows=2, severity="warn"),
            ),
            max_invalid_fraction=0.5,
        ),
        keys=("id",),
        target="price",
        features={"size": col("size"), "brand": col("brand")},
        model=Regressor(members=(Linear(),), folds=2, repeats=1),
        schedule=Schedule(**{"train": "never", "cooldown": "1h"} | schedule),  # type: ignore[arg-type]
    )


def written(path: Path, first: int, brands: Sequence[str], *, scale: float = 1.0, more: Sequence[str] = ()) -> str:
    sizes = [1 + (first + n) * 7 % 13 for n in range(len(brands))]
    rows = [
        f"{first + n},{b},{s},{scale * (3 * s + len(b))}" for n, (b, s) in enumerate(zip(brands, sizes, strict=True))
    ]
    path.write_text("\n".join(["id,brand,size,price", *rows, *more]) + "\n")
    return f"file:{path}"


class World:
    """A home, and runs of a day each."""

    def __init__(self, folder: Path, system: System) -> None:
        self.folder, self.system, self.home = folder, system, Home(Settings(home=folder / "home"))

    def run(self, day: float, source: str | None = None, steps: Sequence[str] | None = None) -> Result:
        moment = BEGIN + day * DAY
        return run(self.system, self.home, RunRequest(moment, moment, source, steps=steps))

    def batch(self, day: float, first: int, brands: Sequence[str], **more: object) -> Result:
        return self.run(day, written(self.folder / f"{first}.csv", first, brands, **more))  # type: ignore[arg-type]

    @property
    def versions(self) -> dict[int, str]:
        return {v.version: v.state for v in self.home.registry.versions("listings")}


def train_first(folder: Path) -> None:
    assert World(folder, listings()).batch(0, 0, ["nike", "acme"] * 60).because == "there is no champion"


@pytest.fixture
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home in which version 1 was trained; when to train again is no part of it. Only copied."""
    return template(tmp_path_factory.getbasetemp(), "listings", train_first)


@pytest.fixture
def world(first: Path, tmp_path: Path) -> World:
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    return World(tmp_path, listings(retrain=(NewValues("brand", share=0.05), ContractWarning("share", column="brand"))))


def test_a_new_brand_makes_a_training_due_once(world: World) -> None:
    assert world.batch(1, 1000, ["nike"] * 60 + ["zed"] * 5).because is None, "5 rows are not enough"
    told = world.batch(2, 2000, ["nike"] * 30 + ["zed"] * 30 + ["yak"])
    reason = "36 of 126 new rows (28.6 %) have a brand that version 1 never saw: 'zed', 'yak'"
    assert told.because == reason
    document = told.as_dict()
    assert (document["trained_because"], document["model"]["pending"]) == (reason, False)
    assert world.home.registry.get("listings", 2).because == reason
    again = world.batch(3, 3000, ["zed"] * 60)
    assert again.because is None, "version 2 has seen it, whatever became of it"
    assert len(world.versions) == 2


def test_a_training_that_the_cooldown_holds_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    told = world.batch(1 / 48, 1000, ["zed"] * 60)
    assert told.because is None
    reason = "60 of 60 new rows (100.0 %) have a brand that version 1 never saw: 'zed'"
    waits = f"{reason}; waits for the cooldown until 2026-01-01T01:00:00Z"
    assert told.as_dict()["training_due"] == waits
    run_report(world.system, world.home, told)
    assert f"training is due: {reason}" in " ".join(capsys.readouterr().out.split())
    assert world.batch(1, 2000, ["acme"]).as_dict().keys().isdisjoint({"training_due"})


def test_the_reason_is_in_the_trace_and_with_the_run(world: World) -> None:
    told = world.batch(1, 1000, ["extraordinarily long"] * 60)
    asked = world.run(2, written(world.folder / "ask.csv", 5000, [], more=["5000,acme,3,"]))
    assert asked.frame is not None
    found = trace(world.home, asked.frame["id"][0])
    assert found["model"]["version"] == 2
    assert found["model"]["because"] == told.because
    record = runs.record(world.home, "listings", told.run_id)
    assert record is not None
    assert record["trained_because"] == told.because


def test_a_refused_batch_stores_nothing_and_makes_no_training_due(world: World) -> None:
    """What is bad is refused; the replaced system trained on a batch because it was bad."""
    rows = world.home.raw(world.system).version()
    bad = written(world.folder / "bad.csv", 4000, ["new"] * 40 + [""] * 40, scale=50)
    for day in (1, 2):
        with pytest.raises(ContractBroken, match="the mean is"):
            world.run(day, bad)
        assert world.home.raw(world.system).version() == rows
        assert read_warnings(world.home, "listings") == [], "it also warned, of what is not there"
    assert world.batch(3, 5000, ["nike"] * 30).because is None
    assert world.versions == {1: "champion"}


def test_a_warning_makes_a_training_due_once(world: World) -> None:
    told = world.batch(1, 1000, ["nike", ""] * 40)
    assert told.because == "the contract warned: brand: 40 of 80 rows are null (50.00%, allowed 20.00%)"
    repeated = world.run(2, f"file:{world.folder / '1000.csv'}")
    assert (repeated.ingested, repeated.because) == (0, None), "a batch that says nothing new warns of nothing new"
    assert world.batch(3, 2000, ["nike"] * 30).because is None
    assert world.batch(4, 9000, ["nike"]).because is None, "of minimum_rows it is not asked"
    assert [w.rule for w in read_warnings(world.home, "listings")] == ["share", "minimum_rows"]


def test_a_kill_before_a_batch_is_stored_loses_no_warning(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    source = written(world.folder / "1000.csv", 1000, ["nike", ""] * 40)
    with monkeypatch.context() as dying:
        dying.setattr(Intake, "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            world.run(1, source)
    assert "40 of 80 rows are null" in (world.run(2, source).because or "")
    assert world.run(3, source).because is None


def test_rows_set_apart_are_no_reason(world: World) -> None:
    broken = [f"{2000 + n},fresh,not a number,5" for n in range(25)]
    told = world.batch(1, 1000, ["nike"] * 60, more=broken)
    assert (told.quarantined, told.because) == (25, None)


MANUAL = listings(retrain=(NewValues("brand", share=0.05),), promotion="manual")


@pytest.fixture
def manual(first: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> World:
    """Version 1 serves, version 2 waits for approval."""

    def hold(folder: Path) -> None:
        shutil.copytree(first, folder, dirs_exist_ok=True)
        held = World(folder, MANUAL).batch(1, 1000, ["extraordinarily long"] * 60).trained
        assert held is not None
        assert (held.held, held.promoted) == (True, False)
        assert held.reason.startswith("beats version 1")

    shutil.copytree(template(tmp_path_factory.getbasetemp(), "listings-held", hold), tmp_path, dirs_exist_ok=True)
    return World(tmp_path, MANUAL)


def test_a_version_is_promoted_before_anything_was_predicted(manual: World) -> None:
    """There is no table of predictions, so nothing that could be compared has a type."""
    system = Workspace(Settings(home=manual.folder / "home")).system(manual.system)
    decision = system.promote(2, by="ann", reason="fine")
    assert (decision.champion, decision.before) == (2, 1)
    version = manual.home.registry.get("listings", 2)
    assert (version.reason or "").startswith("beats version 1")
    assert (version.decision or "").startswith("approved by hand; fine; ")


def test_a_challenger_waits_and_the_champion_goes_on(manual: World) -> None:
    assert manual.versions == {1: "champion", 2: "pending"}
    for day in (1, 2):  # the same time once more, as after a kill, and a later one
        later = manual.run(day, f"file:{manual.folder / '1000.csv'}")
        assert later.trained is None
        assert later.pins is not None
        assert later.pins.model_version == 1
        assert any("version 2 waits for approval" in text for text in later.warnings)
    asked = run(manual.system, manual.home, RunRequest(BEGIN + DAY, BEGIN + DAY, steps=("train",), retrain=True))
    assert asked.trained is not None
    assert (asked.trained.version.version, asked.trained.held) == (2, True)


def test_who_approved_is_kept(manual: World) -> None:
    version = manual.home.registry.promote("listings", 2, created_at=BEGIN + 9 * DAY, reason="fine", by="ann")
    assert (version.state, version.decided_by, version.decided_at) == ("champion", "ann", BEGIN + 9 * DAY)
    again = manual.run(2)
    assert again.pins is not None
    assert again.pins.model_version == 2
    assert not any("waits" in text for text in again.warnings)
    assert manual.home.registry.champion("listings", BEGIN).version == 1  # type: ignore[union-attr]  # as of then


def test_what_a_person_rejected_stays_rejected(manual: World) -> None:
    manual.home.registry.reject("listings", 2, created_at=BEGIN + 9 * DAY, by="ann")
    assert manual.versions == {1: "champion", 2: "rejected"}
    asked = run(manual.system, manual.home, RunRequest(BEGIN + DAY, BEGIN + DAY, steps=("train",), retrain=True))
    assert asked.trained is not None
    assert (asked.trained.held, asked.trained.promoted) == (False, False)
    assert manual.versions == {1: "champion", 2: "rejected"}
    assert manual.run(2).because is None, "for the same rows it is not trained again"


def test_a_version_that_waits_keeps_its_files(manual: World) -> None:
    registry, late = manual.home.registry, BEGIN + 2 * DAY
    register(manual, "one that lost")
    registry.reject("listings", 3, created_at=late)
    assert manual.versions == {1: "champion", 2: "pending", 3: "rejected"}
    prune(manual.home, "listings", Retention(BEGIN + 900 * DAY), dry=False)
    registry.promote("listings", 2, created_at=late)  # refused where its files are gone
    assert registry.fetch(registry.get("listings", 2)).exists()


def register(world: World, content: str) -> None:
    folder, late = world.folder / content, BEGIN + 2 * DAY
    folder.mkdir()
    (folder / "model").write_text(content)
    about = {"params": {}, "metrics": {}, "pins": {}, "as_of": late, "created_at": late}
    world.home.registry.register("listings", folder, key=content.replace(" ", "-"), **about)  # type: ignore[arg-type]


def test_what_a_rollback_goes_back_to_keeps_its_files(manual: World) -> None:
    registry, late = manual.home.registry, BEGIN + 2 * DAY
    for content in ("third", "fourth"):
        register(manual, content)
    for version in (2, 3, 4):
        registry.promote("listings", version, created_at=late)
    for version in (2, 3):
        registry.reject("listings", version, created_at=late, by="ann")
    prune(manual.home, "listings", Retention(BEGIN + 900 * DAY), dry=False)
    assert registry.rollback("listings", created_at=late).version == 1, "refused where its files are gone"


def test_the_newest_file_is_not_what_serves(manual: World) -> None:
    """The replaced system served the file that was written last."""
    newest = manual.home.registry.fetch(manual.home.registry.get("listings", 2))
    for path in (newest, *newest.rglob("*")):
        os.utime(path, (4e9, 4e9))
    source = written(manual.folder / "ask.csv", 5000, [], more=["5000,nike,3,"])
    asked = manual.run(2, source)
    assert asked.frame is not None
    assert set(asked.frame["model_version"]) == {1}


def test_a_version_says_which_rows_it_learnt_from(manual: World) -> None:
    """The replaced system gave each of two models the other's data; here a version pins its own."""
    one, two = manual.home.registry.versions("listings")
    assert [v.pins["rows"] for v in (one, two)] == [120, 180]
    assert [v.pins["data_version"] for v in (one, two)] == [1, 2]


def test_facts_are_those_of_their_time(first: Path, tmp_path: Path) -> None:
    """What a run in the past sees does not depend on what came after it: a backfill decides as live runs did."""
    late, live = World(tmp_path / "late", listings()), World(tmp_path / "live", listings())
    seen = []
    brands = ([], ["zed"] * 3 + ["nike"] * 20, ["yak"] * 9 + [""], ["zed", "wu"] * 5)
    for world in (late, live):
        shutil.copytree(first, world.folder)
        for day, batch in enumerate(brands):
            if batch:
                world.run(day, written(world.folder / f"{day}.csv", 1000 * day, batch), ("ingest", "validate"))
            last = world.home.registry.timeline("listings").latest_trained(BEGIN)
            assert last is not None
            facts = StoredFacts(world.system, world.home, world.home.raw(world.system).version()).at(
                BEGIN + day * DAY, last
            )
            if world is live:
                seen.append((facts.rows(), facts.new_values("brand"), facts.warnings()))
    stored = StoredFacts(late.system, late.home, late.home.raw(late.system).version())
    past = [stored.at(BEGIN + day * DAY, last) for day in range(len(brands))]
    assert [(f.rows(), f.new_values("brand"), f.warnings()) for f in past] == seen
    assert [f.new_values("brand").new for f in past] == [0, 3, 12, 22]


def test_decisions_over_http(manual: World) -> None:
    """Only a token that may decide decides; without any token nobody does."""
    tokens = {
        "t1": {"may": ["listings:decide", "listings:read"], "name": "release desk"},
        "t2": ["*:read", "*:predict"],
    }
    for given in ({}, tokens):
        options = Options(tokens=Settings(tokens=given).tokens, logged=False)  # type: ignore[arg-type]
        application = Application([manual.system], manual.home, options, registry=CollectorRegistry())
        told = asyncio.run(_decided(application, tokens=bool(given)))
        if not given:
            assert told == [200, 403, 403]
            assert manual.versions == {1: "champion", 2: "pending"}
    assert told == [200, 401, 403, 422, 422, 404, 409, 200, 409]
    version = manual.home.registry.get("listings", 2)
    assert (version.state, version.decided_by) == ("champion", "ann (release desk)")
    assert version.decision == "over HTTP; it looks right"
    assert (version.reason or "").startswith("beats version 1"), "what the gate said stays"


async def _decided(application: Application, *, tokens: bool) -> list[int]:
    """The statuses of requests one after the other."""
    statuses = []
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://headrace") as client:

        async def ask(path: str, token: str | None, **more: object) -> httpx.Response:
            headers = {} if token is None else {"authorization": f"Bearer {token}"}
            answer = await client.post(f"/v1/systems/listings/models{path}", headers=headers, **more)  # type: ignore[arg-type]
            statuses.append(answer.status_code)
            return answer

        listed = await client.get("/v1/systems/listings/models", headers={"authorization": "Bearer t1"})
        statuses.append(listed.status_code)
        assert [each["state"] for each in listed.json()["models"]] == ["champion", "pending"]
        await ask("/2/promote", None)
        await ask("/2/reject" if not tokens else "/2/promote", "t2")
        if tokens:
            await ask("/2/promote", "t1", json={"who": "ann"})
            await ask("/2/promote", "t1", json={"by": 3})
            await ask("/9/promote", "t1")
            await ask("/1/reject", "t1")
            done = await ask("/2/promote", "t1", json={"by": "ann", "reason": "it looks right"})
            assert done.json()["state"] == "champion"
            await ask("/2/reject", "t1")
    return statuses
