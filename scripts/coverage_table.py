"""Prints how much of each package the tests of each room run, as measured in build/coverage.

python scripts/coverage_table.py [--floor PERCENT PACKAGE ...]: fails where one of these packages is below the floor.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from coverage import Coverage
from rich.console import Console
from rich.table import Table

MEASURED = Path("build/coverage")
PACKAGE = Path("src/headrace")
ALL = "all rooms"
Shares = dict[str, float]
"""Percent of lines and branches by package."""


def shares(folders: list[Path]) -> Shares:
    """What the tests whose data is in some folders run of each package."""
    with tempfile.TemporaryDirectory() as folder:
        coverage = Coverage(data_file=f"{folder}/.coverage")
        coverage.combine([str(path / ".coverage") for path in folders], keep=True)
        coverage.json_report(outfile=f"{folder}/report.json")
        files = json.loads(Path(f"{folder}/report.json").read_text())["files"]
    covered, total = defaultdict[str, int](int), defaultdict[str, int](int)
    for name, file in files.items():
        package = Path(name).relative_to(PACKAGE).parts[0].removesuffix(".py")
        summary = file["summary"]
        for key in (package, ""):
            covered[key] += summary["covered_lines"] + summary.get("covered_branches", 0)
            total[key] += summary["num_statements"] + summary.get("num_branches", 0)
    return {package: 100 * covered[package] / total[package] for package in sorted(total) if total[package]}


def main() -> int:
    """Print the table, and judge the packages that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--floor", type=float, default=0.0)
    parser.add_argument("packages", nargs="*")
    options = parser.parse_args()
    rooms = sorted(path.parent for path in MEASURED.glob("*/.coverage"))
    if not rooms:
        print(f"coverage: nothing is in {MEASURED}; run scripts/coverage", file=sys.stderr)
        return 1
    columns = {room.name: shares([room]) for room in rooms} | {ALL: shares(rooms)}
    table = Table("package", *columns)
    for package in sorted(columns[ALL], key=lambda name: (not name, name)):
        row = [f"{column[package]:.1f} %" if package in column else "" for column in columns.values()]
        table.add_row(package or "headrace", *row, style="bold" if not package else None)
    Console().print(table)
    low = [package for package in options.packages if columns[ALL].get(package, 0.0) < options.floor]
    for package in low:
        print(f"coverage: {package} is below {options.floor:g} %", file=sys.stderr)
    return 1 if low else 0


if __name__ == "__main__":
    raise SystemExit(main())
