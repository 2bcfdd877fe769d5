"""A stand-in for a schema registry, as far as answers need one."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.ports import free_port


class StandIn:
    """Answers Confluent's protocol.

    Attributes:
        schemas: By id: subject and what was registered.
        levels: By subject.
        refuses: Whether it takes no schema, as one that is not compatible.
    """

    def __init__(self) -> None:
        self.schemas: dict[int, tuple[str, dict]] = {}
        self.levels: dict[str, str] = {}
        self.refuses = False
        self.asked: list[str] = []
        of = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                number = int(self.path.partition("?")[0].rsplit("/", 1)[1])
                subject_and = of.schemas.get(number)
                self.say(*((200, subject_and[1]) if subject_and else (404, {"error_code": 40403, "message": "no"})))

            def do_POST(self):
                said = json.loads(self.rfile.read(int(self.headers["content-length"])))
                subject = self.path.partition("?")[0].split("/")[2]
                schema = {"schema": said["schema"], **({"schemaType": t} if (t := said.get("schemaType")) else {})}
                found = next((n for n, each in of.schemas.items() if each == (subject, schema)), None)
                if self.path.partition("?")[0].endswith("/versions"):
                    of.asked.append(f"register {subject}")
                    if of.refuses:
                        self.say(409, {"error_code": 409, "message": "incompatible"})
                        return
                    number = found or len(of.schemas) + 1
                    of.schemas[number] = subject, schema
                    self.say(200, {"id": number})
                elif found is None:
                    self.say(404, {"error_code": 40403, "message": "Schema not found"})
                else:
                    self.say(200, {"subject": subject, "id": found, "version": 1, **schema})

            def do_PUT(self):
                said = json.loads(self.rfile.read(int(self.headers["content-length"])))
                of.levels[self.path.partition("?")[0].rsplit("/", 1)[1]] = said["compatibility"]
                self.say(200, said)

            def say(self, status, document):
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
