"""What pages cost: fifty people who keep them open, the first paint with many series, and charts of many points.

    python -m benchmarks.pages [--series 10000] [--viewers 50] [--seconds 60] [--every 10] [--home HOME]

Viewers do as an open page does: they ask again every ten seconds, and say what they have seen. CPU is that of the
server and its readers. The machine's load stands beside, since all of it shares the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from benchmarks.browsing import shares
from playwright.sync_api import Browser
from tests.browser.home import hourly
from tests.browser.window import Window, chromium, shown
from tests.commands import headrace
from tests.servers import Server, serving
from tests.worlds.answers import SCORES, Answers

_SYSTEM = "/systems/live_metrics"
PAGES = ("/", _SYSTEM, f"{_SYSTEM}/series", f"{_SYSTEM}/models", f"{_SYSTEM}/runs")
PAINTED = PAGES[:3]
_TICKS = os.sysconf("SC_CLK_TCK")
_PAINT = """() => {
    const seen = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
    return [performance.getEntriesByName('first-contentful-paint')[0].startTime,
            seen.reduce((sum, each) => sum + each.transferSize, 0)]; }"""
_FRAMES = """count => new Promise(done => {
    const plot = document.querySelector('.u-over'), box = plot.getBoundingClientRect(), gaps = [];
    let last = performance.now(), n = 0;
    const step = now => {
        gaps.push(now - last); last = now;
        if (++n > count) return done(gaps.slice(2));
        const x = box.left + box.width * n / count;
        plot.dispatchEvent(new MouseEvent('mousemove', {clientX: x, clientY: box.top + 20, bubbles: true}));
        requestAnimationFrame(step); };
    requestAnimationFrame(step); })"""


def cpu_of(group: int) -> float:
    """CPU seconds of all processes of a group so far."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended
            continue
        if int(fields[2]) == group:
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


async def viewer(client: httpx.AsyncClient, number: int, every: float, until: float, times: list[float]) -> None:
    """One open page, which looks again and again."""
    page, seen = PAGES[number % len(PAGES)], ""
    await asyncio.sleep(random.Random(number).uniform(0, every))
    while time.perf_counter() < until:
        began = time.perf_counter()
        response = await client.get(page, headers={"x-seen": seen, "hx-request": "true", "accept": "text/html"})
        times.append(time.perf_counter() - began)
        assert response.status_code in (200, 204), response.text[:500]
        digest = re.search(r'"X-Seen": "(\w+)"', response.text)
        seen = digest[1] if digest else seen
        await asyncio.sleep(max(every - (time.perf_counter() - began), 0))


async def watched(server: Server, viewers: int, every: float, seconds: float) -> dict[str, Any]:
    """Milliseconds of answers, and CPU of the server for each."""
    times: list[float] = []
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        for page in PAGES:
            (await client.get(page, headers={"accept": "text/html"})).raise_for_status()
        before, until = cpu_of(server.process.pid), time.perf_counter() + seconds
        await asyncio.gather(*(viewer(client, n, every, until, times) for n in range(viewers)))
    spent = cpu_of(server.process.pid) - before
    return shares(times) | {"cpu_ms_a_page": round(spent / max(len(times), 1) * 1000, 2)}


def painted(browser: Browser, server: Server, rounds: int) -> dict[str, Any]:
    """Milliseconds to the first paint, and bytes, of pages that a browser has never seen."""
    found = {}
    for page in PAINTED:
        seen = []
        for _ in range(rounds):
            window = Window(browser, server.url)
            window.open(page)
            seen.append(window.page.evaluate(_PAINT))
            window.context.close()
        paints, sizes = zip(*seen, strict=True)
        found[page] = {"first_paint_ms": round(statistics.median(paints)), "bytes": round(max(sizes))}
    return found


def drawn(browser: Browser, points: int) -> dict[str, Any]:
    """Milliseconds between frames while the mouse moves over a chart of many points."""
    api = Answers(token="")
    api.answers["/v1/access"]["open"] = True
    row = SCORES["rows"][0]
    rows = [
        {**row, "time": f"{2000 + n // 300}-{n // 25 % 12 + 1:02}-{n % 25 + 1:02}T00:00:00Z"} for n in range(points)
    ]
    api.answers["/v1/systems/load/scores"] = {**SCORES, "rows": rows}
    with shown(api) as url:
        window = Window(browser, url)
        window.open("/systems/load")
        gaps = [gap / 1000 for gap in window.page.evaluate(_FRAMES, 120)]
        window.context.close()
    return {name: value for name, value in shares(gaps).items() if name != "n"}


def home_of(folder: Path, series: int) -> None:
    """A home of live_metrics after two runs, with so many series of five days."""
    source = ("--source", f"simulated:?series={series}&days=5&step=1h")
    for hour in (0, 2):
        when = ("--as-of", f"2020-03-02T{hour:02}:00:00Z")
        done = headrace("run", folder / "live_metrics", "--home", folder / "home", "--json", *source, *when)
        assert done.code == 0, done.err


def main() -> None:
    """Print a JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--every", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--home", type=Path, help="one that has it already; it is copied")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        system = str(hourly(folder))
        if options.home is None:
            home_of(folder, options.series)
        else:
            shutil.copytree(options.home, folder / "home")
        found: dict[str, Any] = {"load": os.getloadavg()[0]}
        with serving(folder / "home", "--readers", "1", "--access-log", "off", systems=(system,)) as server:
            found["viewers"] = asyncio.run(watched(server, options.viewers, options.every, options.seconds))
            with chromium() as browser:
                found["pages"] = painted(browser, server, options.rounds)
                found["frames_of_10,000_points"] = drawn(browser, 10_000)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
