"""Pictures of every page in every size, for eyes: in artefacts/browser, or those of the tour in the documentation.

python -m tests.browser.pictures [--tour]
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from pathlib import Path

from playwright.sync_api import Browser
from tests.browser.home import TOKENS, browsed
from tests.browser.window import ARTEFACTS, Window, chromium
from tests.servers import Server

WINDOWS = (("light", 360), ("dark", 360), ("light", 1440), ("dark", 1440), ("light", 3840))
SERIES = "%5B%22DK1%22%2C%22111%22%5D"
FIXED = {
    "overview": "/",
    "system": "/systems/energy",
    "system_rows": "/systems/titanic",
    "system_failed": "/systems/price_alchemy",
    "segments": "/systems/energy?by=area",
    "series": f"/systems/energy/series?with={SERIES}",
    "models": "/systems/energy/models",
    "model": "/systems/energy/models/1",
    "data": "/systems/titanic/data",
    "data_stopped": "/systems/price_alchemy/data",
    "drift": "/systems/titanic/drift",
    "runs": "/systems/price_alchemy/runs",
    "rows": "/systems/titanic/rows",
    "stream": "/systems/live_metrics/stream",
    "health": "/systems/energy/health",
    "installation": "/installation",
    "table": f"/systems/energy/figures/forecast.html?series={SERIES}",
    "missing": "/systems/nothing",
}
ALSO = {
    "rows_texts": "/systems/price_alchemy/rows",
    "compared": "/systems/energy/models?first=2&second=1",
    "system_events": "/systems/live_metrics",
    "steps": "/systems/energy?by=step",
    "segments_rows": "/systems/titanic?by=Pclass",
    "simulations": "/systems/energy/simulate",
}
"""Other states of these pages: for eyes alone."""
TOUR = {
    "overview": "/",
    "system": "/systems/energy",
    "models": "/systems/energy/models",
    "drift": "/systems/titanic/drift",
    "data": "/systems/titanic/data",
    "prediction": "",
}
_TOUR = Path(__file__).resolve().parents[2] / "docs" / "_static" / "tour"


def pages_of(server: Server) -> dict[str, str]:
    """Names and addresses of all pages, also of those whose address is known only now."""
    headers = {"authorization": f"Bearer {next(iter(TOKENS))}"}
    failed = server.get("/v1/systems/price_alchemy/runs?limit=1", headers=headers).json()["runs"][0]["run_id"]
    done = server.get("/v1/systems/energy/runs?limit=1", headers=headers).json()["runs"][0]["run_id"]
    query = "/v1/systems/titanic/answers?limit=1"
    newest = server.get(query, headers=headers).json()["rows"][0]["id"]
    more = {"run_failed": f"/systems/price_alchemy/runs/{failed}", "run": f"/systems/energy/runs/{done}"}
    return FIXED | more | {"prediction": f"/predictions/{newest}"}


def taken(browser: Browser, server: Server) -> None:
    """Take a picture of every page in every size."""
    pages = pages_of(server) | ALSO
    for scheme, width in WINDOWS:
        window = Window(browser, server.url, scheme=scheme, width=width)
        window.page.goto("/login")
        window.shoot("login")
        window.login()
        for name, path in pages.items():
            window.open(path)
            window.shoot(name)
        window.context.close()


def tour(browser: Browser, server: Server) -> None:
    """Take the pictures of the tour, small ones."""
    _TOUR.mkdir(parents=True, exist_ok=True)
    pages = pages_of(server)
    window = Window(browser, server.url)
    window.login()
    session = window.context.new_cdp_session(window.page)
    for name in TOUR:
        window.open(pages[name])
        shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": 60})
        (_TOUR / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))


def main() -> None:
    """Say where the pictures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tour", action="store_true", help="only those of the tour in the documentation")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        with browsed(base, base / "copy") as server, chromium() as browser:
            (tour if options.tour else taken)(browser, server)
    print(_TOUR if options.tour else ARTEFACTS)


if __name__ == "__main__":
    main()
