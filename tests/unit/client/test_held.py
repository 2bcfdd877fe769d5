"""Answers that a client holds by their tags, while several requests are under way."""

import asyncio

import httpx

from headrace.client import AsyncClient, ClientOptions


def test_an_answer_that_stands_is_known_though_it_was_let_go_meanwhile():
    async def run():
        others = asyncio.Event()

        async def answered(request):
            tag = f'"{request.url.path}"'
            if request.headers.get("if-none-match") == tag:
                others.set()
                await asyncio.sleep(0.01)  # time in which another answer takes the place
                return httpx.Response(304, headers={"etag": tag})
            return httpx.Response(200, headers={"etag": tag}, json={"path": request.url.path})

        async with AsyncClient(
            "http://api", options=ClientOptions(held=1), transport=httpx.MockTransport(answered)
        ) as client:
            first = await client.get("/a")

            async def other():
                await others.wait()
                return await client.get("/b")

            return first, await asyncio.gather(client.get("/a"), other())

    first, (again, other) = asyncio.run(run())
    assert (first, again, other) == ({"path": "/a"}, {"path": "/a"}, {"path": "/b"})
