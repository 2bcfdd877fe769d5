"""A local server that speaks as Energi Data Service does, with faults on order."""

import json
import threading
import time
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

COLUMNS = ("HourUTC", "HourDK", "PriceArea", "ConsumerType_DE35", "TotalCon")


def records(start, hours, areas=("DK1", "DK2"), industries=("111", "112")):
    made = []
    for hour in range(hours):
        at = start + timedelta(hours=hour)
        for area in areas:
            for i, industry in enumerate(industries):
                text = f"{at:%Y-%m-%dT%H:%M:%S}"
                made.append(dict(zip(COLUMNS, (text, text, area, industry, 100.5 + hour % 24 + i), strict=True)))
    return made


class Service:
    """Serves `records`; `faults` are done first, one a request: functions of the handler, or None for a good answer."""

    def __init__(self, rows):
        self.records, self.faults, self.requests, self.change = rows, [], [], lambda answer: answer
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                fault = outer.faults.pop(0) if outer.faults else None
                if fault is None:
                    outer.answer(self, 200, outer.change(outer.page(self.path)))
                else:
                    fault(self)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/dataset/"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def page(self, path):
        parts = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        start, end = (datetime.fromisoformat(asked[name]) for name in ("start", "end"))
        chosen = [r for r in self.records if start <= datetime.fromisoformat(str(r["HourUTC"])) < end]
        for name, values in json.loads(asked.get("filter", "{}")).items():
            chosen = [r for r in chosen if r[name] in values]
        chosen.sort(key=lambda r: [str(r[c]) for c in asked["sort"].split(",")])
        offset, limit = int(asked["offset"]), int(asked["limit"])
        return {"total": len(chosen), "dataset": parts.path.rsplit("/", 1)[-1], "records": chosen[offset:][:limit]}

    @staticmethod
    def answer(handler, status, data, headers=(), cut=0):
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) - cut))
        handler.end_headers()
        handler.wfile.write(body[: len(body) - cut])


def busy(after="7"):
    return lambda h: Service.answer(h, 429, {"message": "slow down"}, [("Retry-After", after)])


def broken(status=500):
    return lambda h: Service.answer(h, status, {"message": "no such thing"})


def slow(seconds):
    return lambda h: time.sleep(seconds)


def reset(h):
    h.send_response(200)
    h.send_header("Content-Length", "100000")
    h.end_headers()
    h.wfile.write(b'{"total":')
    h.wfile.flush()
    h.connection.close()


def truncated(h):
    Service.answer(h, 200, b'{"total": 3, "records": [{"HourUTC": "2023-')


def garbled(h):
    Service.answer(h, 200, b"no gzip", [("Content-Encoding", "gzip")])


def dead(h):
    h.connection.close()
