"""What every reader of records must do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import ClassVar

import polars as pl
import pytest

from headrace.errors import SourceError
from headrace.sources import Reader, Records, Source, SourceContext, open_source


class SourceSuite:
    """A reader gives all that may be known at a time, the same whenever it is asked, and never a part in silence.

    Give a source whose records do not change while the test runs, and a time at which it has some:

        class TestMine(SourceSuite):
            as_of = datetime(2026, 1, 1, tzinfo=UTC)

            @pytest.fixture
            def source(self): return Source(reader=MyReader("https://..."))

    Attributes:
        as_of: A time at which records are known.
        time: Column of the event time, under its declared name; None where there is none.
    """

    as_of: ClassVar[datetime] = datetime(2026, 1, 1, tzinfo=UTC)
    time: ClassVar[str | None] = None

    @pytest.fixture
    def source(self) -> Source:
        """A source with records, named by its `uri` or its `reader`."""
        raise NotImplementedError("say what is read: override the fixture source")

    @pytest.fixture
    def gone(self) -> Source:
        """The same kind of source where nothing can be read."""
        pytest.skip("no source that fails: override the fixture gone")

    def frames(
        self, source: Source, *, as_of: datetime | None = None, now: datetime | None = None
    ) -> list[pl.DataFrame]:
        """All frames of one read."""
        moment = as_of or self.as_of
        records = open_source(source, None, SourceContext(time=self.time)).read(as_of=moment, now=now or moment)
        return [records.frame, *records.more]

    def test_it_is_opened_without_being_read(self, gone: Source) -> None:
        assert isinstance(open_source(gone), Reader)

    def test_what_cannot_be_read_is_a_source_error(self, gone: Source) -> None:
        with pytest.raises(SourceError):
            self.frames(gone)

    def test_it_gives_records(self, source: Source) -> None:
        records = open_source(source).read(as_of=self.as_of, now=self.as_of)
        assert isinstance(records, Records)
        assert records.frame.height > 0
        assert records.origin.strip()
        assert "@" not in records.origin.partition("//")[2].partition("/")[0], "the origin shows who logs in"

    def test_reading_again_gives_the_same(self, source: Source) -> None:
        one, repeated = self.frames(source), self.frames(source)
        assert len(one) == len(repeated)
        assert all(a.equals(b) for a, b in zip(one, repeated, strict=True))

    def test_it_asks_no_clock(self, source: Source) -> None:
        later = self.frames(source, now=self.as_of + timedelta(days=400))
        assert all(a.equals(b) for a, b in zip(self.frames(source), later, strict=True))

    def test_every_frame_has_the_same_columns(self, source: Source) -> None:
        first, *more = self.frames(source)
        assert all(frame.columns == first.columns for frame in more)

    def test_no_event_time_is_in_two_frames(self, source: Source) -> None:
        if self.time is None:
            pytest.skip("records without an event time")
        times = [set(frame[self.time].to_list()) for frame in self.frames(source)]
        assert sum(map(len, times)) == len(set().union(*times))

    def test_a_run_of_the_past_has_what_it_would_have_had(self, source: Source) -> None:
        """Read for runs from an earlier time on (a backfill), the records hold what that time's own read has."""
        first = self.as_of - timedelta(days=1)
        context = SourceContext(time=self.time)
        records = open_source(source, None, context).read(as_of=self.as_of, now=self.as_of, first=first)
        frames_both = pl.concat([records.frame, *records.more], how="vertical_relaxed")
        early = pl.concat(self.frames(source, as_of=first), how="vertical_relaxed")
        assert early.join(frames_both, on=early.columns, how="anti", nulls_equal=True).is_empty()
