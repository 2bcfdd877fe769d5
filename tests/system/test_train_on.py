"""Training on features as they were served: in place of computed ones, as of a time, and otherwise the same model."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient
from tests.commands import headrace

from headrace.errors import DeclarationError
from headrace.features.served import ServedFeatures
from headrace.home import RAW, Home
from headrace.loading import load_system
from headrace.registry.artefact import folder_digest
from headrace.serving.http.app import Application
from headrace.serving.http.options import Options
from headrace.settings import Settings
from headrace.shaping import differing
from headrace.store import FeatureGroup
from headrace.system import System
from headrace.tasks.rows import logged_features
from headrace.tasks.rows.fitting import Rows
from headrace.tasks.rows.inference import export
from headrace.tasks.rows.lookups import Lookups
from headrace.tasks.rows.training import Log, labelled

TIME = pl.Datetime("us", "UTC")
DECLARATION = """
from headrace import Classifier, Column, Contract, Linear, Schedule, System
from headrace.features import col, stored
from headrace.sources import Source

spend = stored("customers", "spend", key="customer")
system = System(
    name="shop",
    source=Source(uri="file:orders.jsonl"),
    contract=Contract(columns=(
        Column("order", "integer"),
        Column("customer", "category", nullable=True),
        Column("amount", "float"),
        Column("returned", "integer", values=(0, 1), nullable=True),
        {column}
    )),
    keys=("order",),
    target="returned",
    time={time},
    features={{
        "amount": col("amount"),
        "who": col("customer"),
        "share": col("amount") / spend,
        "spend": spend,
        "often": stored("customers", "visits", key="customer") > 2,
    }},
    model=Classifier(members=(Linear(),), repeats=1),
    schedule=Schedule(predict="never", train="never"),
    log_features=True,
    train_on="served",
)
"""
LOOKED_UP = {"share", "spend", "often"}
UNLOGGED = ["log_features=false", "train_on=recomputed"]


class Shop:
    """A folder with a system that looks customers up, and a home with a model of its orders.

    Attributes:
        rows: 70 orders with their outcome, known, and the model trained, as of `began`.
    """

    def __init__(self, folder: Path, *, timed: bool = False) -> None:
        self.folder, self.path = folder, folder / "home"
        (folder / "shop").mkdir()
        text = DECLARATION.format(column='Column("at", "time"),' if timed else "", time="'at'" if timed else None)
        (folder / "shop" / "system.py").write_text(text)
        self.began, chance = datetime.now(UTC), random.Random(0)
        self.group = FeatureGroup(
            self.home().store,
            "shop",
            "customers",
            keys=["id"],
            time="day",
            columns={"spend": pl.Float32(), "visits": pl.Int64()},
            definition="v1",
            online=1,
        )
        self.tell([(f"c{c}", days, chance.uniform(5, 90), chance.randrange(6)) for c in range(9) for days in (60, 20)])
        self.rows = []
        for n in range(70):
            row: dict[str, Any] = {"order": n, "customer": f"c{n % 10}", "amount": chance.uniform(1, 50)}
            if timed:
                row["at"] = (self.began - timedelta(days=chance.randrange(3), hours=1)).isoformat()
            self.rows.append(row)
        known = [row | {"returned": int(chance.random() < row["amount"] / 60)} for row in self.rows]
        (folder / "orders.jsonl").write_text("".join(json.dumps(row) + "\n" for row in known))
        self.said("run", "--source", f"file:{folder / 'orders.jsonl'}", at=self.began)

    def home(self, path: Path | None = None) -> Home:
        return Home(Settings(home=path or self.path))

    @property
    def system(self) -> System:
        return load_system(str(self.folder / "shop"))

    def tell(self, facts: list[tuple[str, float, float, int]]) -> None:
        """Facts of customers from (customer, days ago, spend, visits), known an hour after."""
        data = []
        for customer, days, spend, visits in facts:
            day = self.began - timedelta(days=days)
            data.append((customer, day, day + timedelta(hours=1), spend, visits))
        schema = {"id": pl.String, "day": TIME, "known_at": TIME, "spend": pl.Float32, "visits": pl.Int64}
        self.group.write(pl.DataFrame(data, schema=schema, orient="row"))

    def said(self, command: str, *arguments: object, at: datetime, code: int = 0) -> Any:
        done = headrace(
            command, self.folder / "shop", "--home", self.path, "--json", "--as-of", at.isoformat(), *arguments
        )
        assert done.code == code, done.err
        return done.json

    @contextmanager
    def door(self, *, logs: bool = True) -> Iterator[TestClient]:
        """The HTTP door; its metrics stand apart."""
        home = self.home()
        system = self.system if logs else load_system(str(self.folder / "shop"), UNLOGGED)
        with TestClient(Application([system], home, Options(access_log="off"), registry=CollectorRegistry())) as client:
            yield client
        home.online.close()

    def post(self, rows: list[dict[str, Any]], *, logs: bool = True) -> list[dict[str, Any]]:
        with self.door(logs=logs) as client:
            answer = client.post("/v1/systems/shop/predict", json=rows)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["predictions"])

    def trained(self, at: datetime, *sets: str, aside: bool = False) -> tuple[str, dict[str, int] | None]:
        """What `fitted` gives of a training, and what it learnt from; `aside`, in a copy of the home."""
        path = Path(shutil.copytree(self.path, self.folder / f"aside{random.random()}")) if aside else self.path
        more = [each for one in sets for each in ("--set", one)]
        done = headrace("train", self.folder / "shop", "--home", path, "--json", "--as-of", at.isoformat(), *more)
        assert done.code == 0, done.err
        model = done.json["model"]
        return self.fitted(model["version"], path), model.get("learnt_from")

    def fitted(self, version: int, path: Path | None = None) -> str:
        """The digest of what a version was fitted to: of all its files but the card, which tells the pins."""
        registry = self.home(path).registry
        folder = self.folder / f"fitted{random.random()}"
        shutil.copytree(registry.fetch(registry.get("shop", version)), folder, ignore=shutil.ignore_patterns("card"))
        return folder_digest(folder)

    def tables(self, at: datetime) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        """The features of every labelled row: as computed, and as learnt from; of how many they are the served."""
        system, home = self.system, self.home()
        export(system, home)
        rows = labelled(system, home, as_of=at, data_version=home.table("shop", RAW).version())
        lookups = Lookups.of(system.features, system, home)
        rows, _ = lookups.join(rows, at)
        log = Log.of(system, home, at)
        assert log is not None
        types = {column.name: column.type for column in system.contract.columns} | lookups.types
        about = (rows, "returned", types, system.time)
        computed, none = Rows(*about).table(system.features)
        assert none == 0
        return (computed, *Rows(*about, log.served(system.features, rows)).table(system.features))

    def counts(self, at: datetime) -> int:
        """How many rows a training would learn from as they were served."""
        return self.tables(at)[2]

    def differing(self, at: datetime, *, count: int) -> list[int]:
        """The rows in which what was served is not what is computed: of so many that were served."""
        computed, learnt, served = self.tables(at)
        assert (served, computed.schema) == (count, learnt.schema)
        apart = {name: (~computed[name].eq_missing(learnt[name])).arg_true().to_list() for name in computed.columns}
        assert {name for name, rows in apart.items() if rows} <= LOOKED_UP
        assert apart["spend"] == apart["share"]
        assert {*apart["often"]} <= {*apart["spend"]}
        return apart["spend"]


def now() -> datetime:
    return datetime.now(UTC)


def test_a_training_learns_from_what_was_served_by_its_time(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    before = now()
    shop.post(shop.rows[:40])
    shop.post(shop.rows[40:45], logs=False)
    first = now()
    served = shop.trained(first)
    assert served[1] == {"served": 40, "recomputed": 30}
    assert shop.trained(first, *UNLOGGED, aside=True) == (served[0], None), "nothing differs, to the last bit"
    _, version = shop.home().registry.versions("shop")
    pins = {"rows": 70, "served": 40, "logged_features": 1}
    assert {name: version.pins[name] for name in pins} == pins
    assert shop.trained(first) == served
    assert len(shop.home().registry.versions("shop")) == 2, "the same pins are the same version"

    shop.tell([("c1", 2, 1.0, 5), ("c3", 2, 500.0, 5)])  # known days ago, and told only now
    shop.post(shop.rows[45:50])
    last = now()
    late = [n for n in range(40) if n % 10 in (1, 3)]
    assert shop.differing(last, count=45) == late
    done = headrace("train", tmp_path / "shop", "--home", shop.path, "--as-of", last.isoformat())
    assert "learnt from 45 rows as they were served, 25 recomputed" in done.out
    newest = shop.home().registry.versions("shop")[-1].version
    assert shop.fitted(newest) != shop.trained(last, *UNLOGGED, aside=True)[0]
    assert shop.counts(before) == 0, "what was served later is not known"
    assert shop.counts(first) == 40, "as of then, the five that were posted since are not known"
    skewed(shop, late)


def test_rows_of_a_time_were_served_at_that_time(tmp_path: Path) -> None:
    shop = Shop(tmp_path, timed=True)
    moved = {"at": (shop.began - timedelta(days=5)).isoformat()}
    shop.post([*shop.rows[:40], *(row | moved for row in shop.rows[40:45])])
    first = now()
    served = shop.trained(first)
    assert served[1] == {"served": 40, "recomputed": 30}, "another time is another row"
    assert shop.trained(first, *UNLOGGED, aside=True) == (served[0], None)
    shop.tell([("c1", 2, 1.0, 5), ("c3", 2, 500.0, 5)])
    known = (shop.began - timedelta(days=2, hours=-1)).isoformat()
    late = [n for n, row in enumerate(shop.rows[:40]) if n % 10 in (1, 3) and row["at"] > known]
    assert 0 < len(late) < 8
    assert shop.differing(first, count=40) == late
    skewed(shop, late)


def skewed(shop: Shop, late: list[int]) -> None:
    """What is looked up stands out where a fact came late, and nothing else does."""
    told = headrace("skew", shop.folder / "shop", "--home", shop.path, "--json")
    assert (told.code, told.json["rows"], told.json["differing"]) == (1, 45, len(late))
    found = {each["feature"]: each for each in told.json["features"]}
    assert {*found} == {*shop.system.features.names}
    assert {each["rows"] for each in found.values()} == {45}
    assert found["spend"]["differing"] == found["share"]["differing"] == len(late)
    assert found["spend"]["example"]["recomputed"] in (1.0, 500.0)
    assert found["spend"]["example"]["served"] not in (1.0, 500.0)
    assert found["who"]["differing"] == found["amount"]["differing"] == 0
    shown = headrace("skew", shop.folder / "shop", "--home", shop.path)
    assert f"{len(late)} of 45 predictions differ" in shown.out


def test_values_are_put_into_the_types_that_are_computed() -> None:
    computed = pl.DataFrame(
        {
            "ratio": [float("nan"), float("inf"), 0.1 + 0.2, 2.0],
            "count": [1, 2, 3, None],
            "flag": [True, False, None, True],
            "kind": ["a", None, "c", "d"],
            "none": pl.Series([None] * 4, dtype=pl.Null),
        }
    )
    values = pl.DataFrame(
        {
            "ratio": [None, 4.0, 0.1 + 0.2, 7.0],
            "count": [1.0, None, 4.0, 8.0],
            "flag": [1.0, 1.0, 0.0, 0.0],
            "kind": ["a", "b", None, "z"],
        }
    )
    known = pl.Series([True, True, True, False])
    learnt, count = ServedFeatures(known, values).into(computed)
    assert (count, learnt.schema) == (3, computed.schema)
    assert str(learnt["ratio"][0]) == "nan", "missing either way: the computed one stays"
    assert learnt["ratio"].to_list()[1:] == [4.0, 0.1 + 0.2, 2.0]
    assert learnt["count"].to_list() == [1, None, 4, None]
    assert learnt["flag"].to_list() == [True, True, False, True]
    assert learnt["kind"].to_list() == ["a", "b", None, "d"]
    nothing = ServedFeatures(known, pl.DataFrame()).into(computed.select("count"))
    assert (nothing[0]["count"].to_list(), nothing[1]) == ([None, None, None, None], 3)


def test_a_row_of_other_types_is_computed() -> None:
    computed = pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    values = pl.DataFrame({"a": [1.5, 5.0, 6.0], "b": ["x", "v", None]})
    learnt, count = ServedFeatures(pl.Series([True, True, True]), values).into(computed)
    assert (count, learnt.rows()) == (2, [(1, "x"), (5, "v"), (6, None)])
    texts = pl.DataFrame({"a": ["1", None, "3"], "b": ["p", "q", "r"]})
    learnt, count = ServedFeatures(pl.Series([True, True, False]), texts).into(computed)
    assert (count, learnt.rows()) == (1, [(1, "x"), (None, "q"), (3, "z")])


def test_a_feature_may_become_a_text_and_a_number_again(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "system.py").write_text(DECLARATION.format(column="", time=None))
    system, home = load_system(str(tmp_path / "shop")), Home(Settings(home=tmp_path / "home"))
    log: list[list[tuple[str, Any]]] = [[("1", 1.5)], [("2", "a"), ("3", None)], [("1", 2.0), ("2", "b")]]
    for part, rows in enumerate(log):
        made = [(f"{part}-{n}", n, now(), f"v{version}", value) for n, (version, value) in enumerate(rows)]
        logged_features.store(system, home, pl.DataFrame([row(*each) for each in made], schema_overrides=TIMES))
    asked = pl.DataFrame({"order": [0, 1, 2]})
    found = {}
    for version in ("v1", "v2", "v3"):
        seen = {"feature_version": version, "as_of": now(), "version": 3}
        served = logged_features.read(system, home, asked, **seen)
        found[version] = (served.known.to_list(), served.values["x"].to_list())
    assert found == {
        "v1": ([True, False, False], [1.5, None, None]),
        "v2": ([True, True, False], ["a", "b", None]),
        "v3": ([False, True, False], [None, None, None]),
    }


TIMES = dict.fromkeys(("as_of", "known_at", "created_at"), TIME)


def row(name: str, order: int, at: datetime, version: str, value: Any) -> dict[str, Any]:
    """A row of the predictions table that was logged with a feature x."""
    inputs = json.dumps({"order": order, "_features": {} if value is None else {"x": value}})
    about = {"id": name, "order": order, "model_version": 1, "feature_version": version, "inputs": inputs}
    return about | dict.fromkeys(TIMES, at)


def test_it_is_part_of_what_a_model_was_made_from(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "system.py").write_text(DECLARATION.format(column="", time=None))
    served = load_system(str(tmp_path / "shop"))
    plain = load_system(str(tmp_path / "shop"), ["train_on=recomputed"])
    assert "train_on" not in plain.made_from, "as before there was a choice"
    assert served.config_digest != plain.config_digest
    assert differing(served.made_from, {"made_from": plain.made_from}) == ["train_on"]
    assert differing(plain.made_from, {"made_from": served.made_from}) == ["train_on"]
    assert differing(served.made_from, {"made_from": served.made_from}) == []
    with pytest.raises(DeclarationError, match=r"(?s)no features are logged.*log_features=True"):
        served.__class__(**{**served.__dict__, "log_features": False})
