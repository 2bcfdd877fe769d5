"""A home whose folder goes away under a server, as a disk does."""

import asyncio

import pytest

from headrace.home import Home
from headrace.serving.http.problem import Problem
from headrace.serving.http.reads.pool import Reads
from headrace.settings import Settings


def names(place):
    return sorted(path.name for path in place.home.settings.home.glob("*"))


def test_a_home_that_is_gone_does_not_seem_empty(tmp_path):
    folder = tmp_path / "home"

    async def ask(reads):
        reads.forget()
        return (await reads.read(names)).body

    async def asks():
        reads = Reads([], Home(Settings(home=folder), make=False), readers=0, seconds=5)
        assert await ask(reads) == b"[]"  # nothing ran yet
        (folder / "store").mkdir(parents=True)
        assert await ask(reads) == b'["store"]'
        folder.rename(tmp_path / "away")
        with pytest.raises(Problem, match="gone") as caught:
            await ask(reads)
        assert caught.value.status == 503
        (tmp_path / "away").rename(folder)
        assert await ask(reads) == b'["store"]'
        reads.close()

    asyncio.run(asks())
