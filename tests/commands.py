"""The command line in this process, small files of readings, and a home with one trained model to copy."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.templates import template
from typer.testing import CliRunner

from headrace.cli import app

ENERGY = str(Path(__file__).resolve().parents[1] / "systems" / "energy")
AS_OF = datetime(2023, 1, 20, 16, tzinfo=UTC)
SMALL = ("--set", "source.lag=0h", "--set", "model.n_estimators=5", "--set", "model.max_rows=1000")
HEADER = "HourUTC,PriceArea,ConsumerType_DE35,TotalCon"
SERIES = (("DK1", "111"), ("DK1", "215"), ("DK2", "111"), ("DK2", "215"))


@dataclass(frozen=True)
class Ran:
    """What a command did; `json` is the one document on stdout."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def headrace(*arguments: object) -> Ran:
    """Run a command; an exception that is no typed error fails the test with its own traceback."""
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, done.stdout, done.stderr)


def energy(command: str, home: Path, *arguments: object, as_of: datetime | None = AS_OF) -> Ran:
    """A command on the energy system with a small model, as JSON."""
    when = () if as_of is None else ("--as-of", as_of.isoformat())
    return headrace(command, ENERGY, "--home", home, "--json", *SMALL, *when, *arguments)


def hours(first: datetime, count: int) -> list[datetime]:
    return [first + timedelta(hours=n) for n in range(count)]


def usage(moment: datetime, place: int) -> float:
    day = math.sin(moment.hour / 24 * 2 * math.pi)
    return round((100 + 50 * place) * (1 + 0.3 * day + 0.1 * (moment.weekday() > 4)) + moment.toordinal() % 7, 3)


def rows(first: datetime, count: int) -> list[str]:
    """Readings of all series in `count` hours from `first`, as lines of CSV."""
    return [
        f"{moment:%Y-%m-%dT%H:%M:%S},{area},{industry},{usage(moment, place)}"
        for moment in hours(first, count)
        for place, (area, industry) in enumerate(SERIES)
    ]


def write(path: Path, lines: list[str], header: str = HEADER) -> str:
    """A CSV file, as a source URI."""
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return f"file:{path}"


def _fill(folder: Path) -> None:
    uri = write(folder / "readings.csv", rows(AS_OF - timedelta(days=30), 30 * 24 + 1))
    ran = energy("run", folder / "home", "--source", uri)
    assert ran.code == 0, ran.err


def copy_of_trained(folder: Path, to: Path) -> Path:
    """A copy of a home after one run as of `AS_OF`, in which a model was trained; `folder` is pytest's base."""
    shutil.copytree(template(folder, "readings", _fill) / "home", to)
    return to
