"""One client in several processes and event loops."""

import asyncio
import os
import socketserver
import threading

import pytest

from headrace.client import AsyncClient, Client


class Counting(socketserver.StreamRequestHandler):
    """Says which connection of all it is; each is used again."""

    count = 0

    def handle(self):
        Counting.count += 1
        number = Counting.count
        while line := self.rfile.readline():
            if line == b"\r\n":
                body = b'{"connection":%d}' % number
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


@pytest.fixture
def counting():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Counting) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_process_that_was_forked_has_connections_of_its_own(counting):
    with Client(counting) as client:
        first = client.health()
        assert client.health() == first
        child = os.fork()
        if not child:
            os._exit(client.health() == first)
        assert os.waitpid(child, 0)[1] == 0
        assert client.health() == first


def test_a_client_works_in_one_event_loop_after_another(counting):
    client = AsyncClient(counting)
    connections = {asyncio.run(client.health())["connection"] for _ in range(3)}
    assert len(connections) == 3
