"""The live source: whole or not at all, politely, and going on where it was."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.system.sources import service as faults
from tests.system.sources.service import Service, records

from headrace.errors import ContractBroken, SourceError, UsageError
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.loading import load_system
from headrace.settings import Settings
from headrace.sources import Source, SourceContext, http, open_source
from headrace.sources.energidataservice import EnergiDataService
from headrace.sources.http import Politeness

START = datetime(2023, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=30)
COLUMNS = {"time": "HourUTC", "area": "PriceArea", "industry": "ConsumerType_DE35", "consumption": "TotalCon"}


@pytest.fixture
def service():
    made = Service(records(START.replace(tzinfo=None), 24 * 30))
    yield made
    made.close()


@pytest.fixture
def waits(monkeypatch):
    """Seconds that would have been waited."""
    waited = []
    sleep = http.JsonClient.__init__.__defaults__[0]
    monkeypatch.setattr(http.JsonClient.__init__, "__defaults__", (lambda s: waited.append(s) if s else sleep(0),))
    return waited


def api(service, **more):
    polite = more.pop("politeness", Politeness(interval="0s", pause="0.01s", timeout="60s"))
    return EnergiDataService(**{"url": service.url, "history": "60d", "politeness": polite, **more})


def read(service, cache=None, as_of=AS_OF, since=None, **more):
    source = Source(api=api(service, **more), columns=COLUMNS)
    return open_source(source, "api", SourceContext(cache)).read(as_of=as_of, now=as_of, since=lambda: since).frame


def rows(frame):
    return sorted(frame.select("time", "area", "industry", "consumption").rows())


def everything(service):
    return sorted(
        (str(r["HourUTC"]), r["PriceArea"], r["ConsumerType_DE35"], json.dumps(r["TotalCon"])) for r in service.records
    )


def asked(service, name):
    return [parse_qs(urlsplit(path).query)[name][0] for path in service.requests]


@settings(max_examples=8)
@given(page=st.integers(40, 3000), days=st.integers(1, 40), seed=st.integers(0, 99))
def test_every_record_once_however_it_is_cut(page, days, seed):
    service = Service(records(START.replace(tzinfo=None), 24 * 3 + seed))
    try:
        frame = read(service, as_of=START + timedelta(days=8), page=page, window=f"{days}d", history="10d")
        assert rows(frame) == everything(service)
    finally:
        service.close()


PASSING = [faults.broken(500), faults.broken(503), faults.reset, faults.truncated, faults.garbled, faults.dead]


@pytest.mark.parametrize("fault", PASSING)
def test_a_failure_that_passes_costs_a_retry(service, waits, fault):
    service.faults = [None, fault, fault, None, fault]
    assert rows(read(service)) == everything(service)
    assert len([w for w in waits if w > 0]) >= 3
    assert max(waits) <= 60


def test_a_slow_answer_is_asked_for_again(service):
    service.faults = [faults.slow(20)]  # longer than the test
    polite = Politeness(interval="0s", pause="0.01s", timeout="1s")
    assert rows(read(service, politeness=polite)) == everything(service)


def test_retry_after_is_granted_up_to_our_patience(service, waits):
    service.faults = [faults.busy("7"), faults.busy("Wed, 21 Oct 2015 07:28:00 GMT"), faults.busy("soon")]
    assert rows(read(service)) == everything(service)
    assert 7.0 in waits
    service.faults = [faults.busy("86400")]
    with pytest.raises(SourceError, match="HTTP 429"):
        read(service, politeness=Politeness(interval="0s", patience="1m"))
    assert max(waits) <= 60


def test_a_failure_that_stays_is_told_with_url_and_status(service, waits):
    service.faults = [faults.broken(500)] * 20
    with pytest.raises(SourceError, match="HTTP 500, 4 times") as told:
        read(service, politeness=Politeness(interval="0s", pause="0.001s", attempts=4))
    assert told.value.where.startswith(service.url)
    assert "start=2022-" in told.value.where
    assert len(service.requests) == 4


def test_what_we_did_wrong_is_not_repeated(service):
    service.faults = [faults.broken(404)]
    with pytest.raises(SourceError, match=r"HTTP 404: .*no such thing"):
        read(service)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([1, 2], "not a JSON object"),
        ({"total": 3}, "no list of records"),
        ({"total": 1, "records": [3]}, "no list of records"),
        ({"records": []}, "how many"),
        ({"total": 9, "records": []}, "do not agree"),
    ],
)
def test_another_shape_is_refused(service, answer, said):
    service.change = lambda _: answer
    with pytest.raises(SourceError, match=said):
        read(service)


def test_an_endless_answer_is_cut_off(service):
    with pytest.raises(SourceError, match="longer than 10,000 bytes"):
        read(service, politeness=Politeness(interval="0s", most_bytes=10_000))


def test_repeated_and_reordered_records_are_there_once(service):
    def shuffled(answer):
        return answer | {"records": [*answer["records"][::-1], *answer["records"][:5]]}

    service.change = shuffled
    assert rows(read(service, page=100)) == everything(service)


def test_records_that_arrive_between_two_pages_make_it_read_again(service):
    late, count = records(START.replace(tzinfo=None) + timedelta(hours=3), 1, areas=("DK0",)), iter(range(1000))

    def growing(answer):
        if answer["records"] and next(count) == 1:
            service.records = [*service.records, *late]
        return answer

    service.change = growing
    assert rows(read(service, page=50)) == everything(service)


def test_the_rate_is_kept(service, waits):
    read(service, politeness=Politeness(interval="0.5s"))
    assert len([w for w in waits if 0.3 < w <= 0.5]) >= len(service.requests) - 1


def test_only_what_is_asked_for(service):
    frame = read(service, filters={"PriceArea": ("DK2",)})
    assert set(frame["area"]) == {"DK2"}
    newest = START + timedelta(days=29)
    service.requests.clear()
    read(service, since=newest, overlap="2d")
    assert min(asked(service, "start")) >= f"{newest - timedelta(days=2 + 7):%Y-%m-%dT%H:%M}"


def test_runs_of_the_past_get_their_history(service):
    """What is stored may begin later than a backfill needs."""
    source = Source(api=api(service, history="5d"), columns=COLUMNS)
    first, newest = START + timedelta(days=10), START + timedelta(days=29)
    frame = open_source(source, "api").read(as_of=AS_OF, now=AS_OF, since=lambda: newest, first=first).frame
    assert frame["time"].min() <= f"{first - timedelta(days=5):%Y-%m-%dT%H:%M:%S}"


def test_a_read_that_broke_off_goes_on_where_it_was(service, waits, tmp_path):
    service.faults = [None] * 5 + [faults.broken(500)] * 50
    polite = Politeness(interval="0s", attempts=2)
    with pytest.raises(SourceError):
        read(service, tmp_path / "cache", politeness=polite)
    done = set(asked(service, "start")[:5])
    service.faults, service.requests = [], []
    assert rows(read(service, tmp_path / "cache", politeness=polite)) == everything(service)
    assert not done & set(asked(service, "start"))
    assert not (tmp_path / "cache" / "api").exists()  # what was whole is in the store now


def test_runs_side_by_side_may_take_the_cache_from_one_another(service, tmp_path):
    def vanish(answer):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        return answer

    service.change = vanish
    assert rows(read(service, tmp_path / "cache")) == everything(service)


def test_a_system_without_an_api_says_so():
    with pytest.raises(UsageError, match="no live API"):
        open_source(Source(), "api")
    with pytest.raises(UsageError, match="nothing follows"):
        open_source(Source(api=EnergiDataService()), "api:x")


@pytest.fixture
def energy(root, service):
    polite = {"url": service.url, "politeness.interval": "0s", "politeness.pause": "0.001s", "overlap": "3d"}
    overrides = [f"source.api.{name}={value}" for name, value in polite.items()]
    return load_system(str(root / "systems" / "energy"), ["source.lag=0h", *overrides])


def ingest(energy, home, hours=0):
    as_of = AS_OF + timedelta(hours=hours)
    return run(energy, home, RunRequest(as_of, as_of, "api", steps=("ingest", "validate"))).as_dict()


def test_ingest_is_incremental_and_a_correction_is_a_new_fact(energy, service, tmp_path):
    home = Home(Settings(home=tmp_path))
    assert ingest(energy, home)["ingested"] == len(service.records) == 2880
    service.requests.clear()
    changed = service.records[-2]  # of the newest hour
    changed["TotalCon"] = 999.0
    service.records += records(AS_OF.replace(tzinfo=None), 2)
    assert ingest(energy, home, hours=2)["ingested"] == 2 * 4 + 1
    assert min(asked(service, "start")) >= f"{AS_OF - timedelta(days=3 + 7):%Y-%m-%dT%H:%M}"
    assert ingest(energy, home, hours=2)["ingested"] == 0
    table = home.table("energy", "raw")
    facts = table.collect(table.scan(where=pl.col("consumption") == 999.0))
    assert facts["known_at"].to_list() == [AS_OF + timedelta(hours=2)]


def test_changed_columns_are_named(energy, service, tmp_path):
    service.records = [
        {"Consumption" if name == "TotalCon" else name: value for name, value in r.items()} for r in service.records
    ]
    with pytest.raises(ContractBroken, match="TotalCon"):
        ingest(energy, Home(Settings(home=tmp_path)))
