"""A window of a real Chromium, in which nothing may go wrong unseen; and the dashboard over an API in memory."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.ports import free_port
from tests.services import missing
from tests.waiting import until
from tests.worlds.answers import Answers

from headrace.dashboard.app import Dashboard
from headrace.dashboard.options import DashboardOptions

ARTEFACTS = Path(__file__).resolve().parents[2] / "artefacts" / "browser"
_AXE = (Path(__file__).parent / "vendored" / "axe.min.js").read_text(encoding="utf-8")
_JUDGED = """axe.run().then(found => JSON.stringify(found.violations.map(
    each => `${each.id}: ${each.nodes.map(node => node.html.slice(0, 160)).join(' | ')}`)))"""
_HEIGHTS = {360: 740, 1440: 900, 3840: 2160}


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a screen."""
    path = shutil.which("chromium")
    if path is None:
        missing("needs Chromium: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Window:
    """A window of the browser.

    Attributes:
        page: As Playwright has it.
        troubles: What the browser complained about.
    """

    def __init__(self, browser: Browser, url: str, *, scheme: str = "light", width: int = 1440) -> None:
        viewport: Any = {"width": width, "height": _HEIGHTS[width]}
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme, base_url=url)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.troubles: list[str] = []
        self.page.on("console", lambda m: self.troubles.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.name = f"{scheme}-{width}"

    def login(self, token: str = "all-of-it") -> None:
        self.page.goto("/login")
        self.page.fill("#token", token)
        self.page.click("main button")
        self.page.wait_for_url(lambda url: "/login" not in url)

    def open(self, path: str) -> None:
        """Open a page, and wait for its charts."""
        self.page.goto(path)
        expect(self.page.locator("figure[data-chart]:not([data-ready])")).to_have_count(0, timeout=30_000)

    def faults(self) -> list[str]:
        """What axe-core finds; it comes from outside of the page, which lets no script in."""
        session = self.context.new_cdp_session(self.page)
        session.send("Runtime.evaluate", {"expression": _AXE})
        given = {"expression": _JUDGED, "awaitPromise": True, "returnByValue": True}
        found: list[str] = json.loads(session.send("Runtime.evaluate", given)["result"]["value"])
        session.detach()
        return found

    def overflow(self) -> int:
        """How much wider than the window the page is."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return width

    def shoot(self, name: str) -> None:
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}-{self.name}.png", full_page=True)


@contextmanager
def shown(api: Answers) -> Iterator[str]:
    """The dashboard over an API that answers from memory; its address."""
    port = free_port()
    app = Dashboard(api.clients(), DashboardOptions(refresh=1))
    config = uvicorn.Config(app, port=port, log_config=None, lifespan="off", ws="none")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        until(lambda: running.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.should_exit = True
        thread.join()
