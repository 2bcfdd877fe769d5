"""Topics that somebody else made, with names, clocks, keys and settings of their own, over a real broker."""

import secrets
import time
from datetime import UTC, datetime, timedelta

import pytest
from tests import kafka

pytestmark = pytest.mark.slow

YEAR = 365 * 24 * 3600 * 1000


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    made = kafka.cluster(tmp_path_factory.mktemp("kafka"))
    yield made.bootstrap
    made.stop()


class Place:
    """A system with a home and topics of its own on the broker."""

    def __init__(self, world, folder, bootstrap, **settings):
        self.world, self.bootstrap, self.prefix = world, bootstrap, f"{secrets.token_hex(4)}."
        self.home = world.train(folder)
        more = {"stream.topics.prefix": self.prefix, **settings}
        self.sets = [*world.SETTINGS, *(f"{name}={value}" for name, value in more.items())]

    def run(self, name, *more, start=False):
        sets = [each for setting in self.sets for each in ("--set", setting)]
        system = str(self.world.ROOT / "systems" / "live_metrics")
        process = kafka.headrace(*name.split(), system, "--home", self.home.path, "--json", *sets, *more)
        return process if start else kafka.finish(process)

    def topic(self, kind):
        return f"{self.prefix}live_metrics.{kind}"

    def make(self, kind, partitions=4, **config):
        from confluent_kafka.admin import AdminClient, NewTopic

        config = {name.replace("_", "."): value for name, value in config.items()}
        new = NewTopic(self.topic(kind), partitions, 1, config=config)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([new])[new.topic].result(30)

    def send(self, events):
        """Events as (metric, step, value, what else `produce` is told)."""
        from confluent_kafka import Producer

        producer, refused = Producer({"bootstrap.servers": self.bootstrap}), []

        def told(error, _):
            refused.extend([] if error is None else [error.str()])

        for metric, step, value, more in events:
            at = self.world.TRAINED + step * self.world.STEP if isinstance(step, int) else step
            body = self.world.message(0, metric, at, value).value
            producer.produce(self.topic("events"), on_delivery=told, **{"key": metric, "value": body, **more})
        assert producer.flush(30) == 0
        assert not refused

    def stream(self, *more):
        return self.run("stream", "--bootstrap", self.bootstrap, "--stop-when-idle", "2s", *more)

    def archive(self):
        return self.run("archive", "--bootstrap", self.bootstrap)

    def letters(self):
        return [
            dict(m.headers())["reason"].decode() for m in kafka.committed(self.bootstrap, self.topic("dead_letters"))
        ]


@pytest.fixture
def place(world, broker, tmp_path):
    return lambda **settings: Place(world, tmp_path / "home", broker, **settings)


def test_producers_clocks_do_not_count(place):
    """Stamps a year behind and a year ahead; what is really in the future is set apart all the same."""
    here = place()
    here.make("events", message_timestamp_type="CreateTime", message_timestamp_after_max_ms=str(2 * YEAR))
    now = int(time.time() * 1000)
    stamps = (now - YEAR, now + YEAR, now)
    future = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=100)
    here.send(
        [
            *(("orders", step, 5.0 + step, {"timestamp": stamps[step % 3]}) for step in range(1, 31)),
            ("revenue", future, 5.0, {"timestamp": now + YEAR}),
        ]
    )
    done = here.stream()
    assert (done["answers"], done["dead_letters"]) == (30, 1), (done, here.letters()[:3])
    assert "is in the future" in here.letters()[0]
    assert here.archive() == {"events": 30, "predictions": 90, "differing": 0, "foreign": 0}
