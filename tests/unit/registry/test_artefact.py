from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArtefactError
from headrace.registry.artefact import ArtefactCache, folder_digest

NAMES = st.text("abc", min_size=1, max_size=2)
FOLDERS = st.dictionaries(st.one_of(NAMES, st.tuples(NAMES, NAMES).map("-/".join)), st.binary(max_size=3), min_size=1)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@given(FOLDERS, FOLDERS)
def test_equal_digests_mean_equal_files(
    tmp_path_factory: pytest.TempPathFactory, one: dict[str, bytes], other: dict[str, bytes]
) -> None:
    first = folder_digest(write(tmp_path_factory.mktemp("a"), one))
    second = folder_digest(write(tmp_path_factory.mktemp("b"), dict(reversed(list(other.items())))))
    assert (first == second) == (one == other)


def test_refuses_links_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no files"):
        folder_digest(tmp_path)
    with pytest.raises(ArtefactError, match="no files"):
        folder_digest(tmp_path / "absent")
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(ArtefactError, match="plain files"):
        folder_digest(tmp_path)


def test_cache_places_once_and_mends_damage(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"a": b"1", "d/b": b"2"})
    cache, digest, calls = ArtefactCache(tmp_path / "cache"), folder_digest(source), []

    def fill(to: Path) -> None:
        calls.append(to)
        shutil.copytree(source, to, dirs_exist_ok=True)

    assert cache.get(digest) is None
    placed = cache.place(digest, fill)
    assert cache.place(digest, fill) == placed == cache.get(digest)
    assert len(calls) == 1
    (placed / "a").write_bytes(b"x")
    assert cache.get(digest) is None
    assert cache.place(digest, fill) == placed == cache.get(digest)
    (placed / "extra").write_bytes(b"")
    assert cache.get(digest) is None


def test_cache_refuses_other_content_and_clears_what_a_dead_process_left(tmp_path: Path) -> None:
    cache = ArtefactCache(tmp_path / "cache")
    left = tmp_path / "cache" / ".placing-dead"
    write(left, {"half": b"1"})
    with pytest.raises(ArtefactError, match="digest"):
        cache.place("0" * 64, lambda to: (to / "a").touch())
    assert not left.exists()
    assert cache.get("0" * 64) is None
