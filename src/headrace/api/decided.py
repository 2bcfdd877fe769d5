"""`DecidedSystem`: a system in a home about whose model versions somebody decides."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.api.read import ReadSystem
from headrace.api.results import Decision
from headrace.api.times import Time, refuse_future, time_of
from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from headrace.pipelines.comparison import Comparison
    from headrace.registry import ModelVersion


class DecidedSystem(ReadSystem):
    """A system in a home with decisions about its versions: promote, reject, roll back, compare.

    Attributes:
        declaration: The `System` as it was declared, with its settings.
        workspace: The home.
    """

    def promote(
        self,
        version: int,
        *,
        as_of: Time | None = None,
        simulated: bool = False,
        by: str | None = None,
        reason: str | None = None,
    ) -> Decision:
        """Make a version the champion, also one that waits for approval. Says how it stands to the present one.

        Args:
            version: Its number.
            as_of: From when on. Default: from the newest run on.
            simulated: Allow a time after the clock.
            by: Who decides, for the record. Default: the user of this process.
            reason: Why, for the record.

        Raises:
            NotFoundError: There is no such version.
            UsageError: It was trained on what became known only after `as_of`.

        >>> s.promote(1)
        Decision('energy', champion=1, before=1)
        """
        from headrace.pipelines.decisions import calls_of, tell_decisions

        home = self.workspace.reading
        calls = calls_of(self.declaration, home)
        since, before = self._since(as_of, simulated), home.registry.timeline(self.name)
        champion = before.champion()
        known = home.registry.get(self.name, version)  # refused where there is none, before anything is compared
        evidence = None if champion is None else self._evidence(champion.version, version)
        how = "approved by hand" if known.state == "pending" else "by hand"
        said = [how, reason, None if evidence is None else evidence["line"]]
        about: dict[str, Any] = {"created_at": self.workspace.now(), "as_of": since, "by": by or _user()}
        home.registry.promote(self.name, version, **about, reason="; ".join(filter(None, said)), evidence=evidence)
        tell_decisions(self.declaration, home, calls)
        return self._decided(None if champion is None else champion.version, evidence)

    def reject(self, version: int, *, by: str | None = None, reason: str | None = None) -> ModelVersion:
        """Say that a version that waits for approval does not become the champion. Arguments as of `promote`.

        Of one that somebody rejected already nothing changes: who did that, when and why stays.

        Raises:
            NotFoundError: There is no such version.
            UsageError: It is the champion.

        >>> s.reject(1)
        Traceback (most recent call last):
        headrace.errors.UsageError: energy: version 1 is the champion
          hint: headrace rollback energy
        """
        said = "by hand" if reason is None else f"by hand; {reason}"
        about: dict[str, Any] = {"created_at": self.workspace.now(), "by": by or _user()}
        return self.workspace.reading.registry.reject(self.name, version, **about, reason=said)

    def rollback(self, *, as_of: Time | None = None, simulated: bool = False) -> Decision:
        """Go back to the champion before the present one that is not rejected. Arguments as of `promote`.

        Raises:
            NotFoundError: There was no champion before, or those before were rejected.

        >>> s.rollback()
        Traceback (most recent call last):
        headrace.errors.NotFoundError: energy: there is no earlier champion to go back to
          hint: headrace models energy
        """
        from headrace.pipelines.decisions import calls_of, tell_decisions

        home = self.workspace.reading
        registry, calls = home.registry, calls_of(self.declaration, home)
        since, before = self._since(as_of, simulated), registry.timeline(self.name).champion()
        registry.rollback(self.name, created_at=self.workspace.now(), as_of=since, reason="by hand", by=_user())
        tell_decisions(self.declaration, home, calls)
        return self._decided(None if before is None else before.version)

    def compare(
        self,
        first: int,
        second: int,
        *,
        replay: bool = False,
        since: Time | None = None,
        until: Time | None = None,
        largest: int = 10,
    ) -> Comparison:
        """Compare two versions on the same requests.

        Args:
            first: One version.
            second: The other.
            replay: Put logged requests to both, each as of its own time; else what both answered is compared.
            since: No request is earlier.
            until: All are before it.
            largest: So many of the largest differences are told.

        Raises:
            NotFoundError: A version is not there, or they have nothing in common.

        >>> s.compare(1, 2)
        Traceback (most recent call last):
        headrace.errors.NotFoundError: energy: there is no model version 2
          hint: there are: 1
        """
        from headrace.tasks.paired import PairRequest

        now = self.workspace.now()
        begin = time_of(since, now, "since") if since else None
        end = time_of(until, now, "until") if until else None
        with self._progress() as tell:
            return self._compared(PairRequest(first, second, replay, begin, end, largest=largest, on_progress=tell))

    def _since(self, as_of: Time | None, simulated: bool) -> datetime | None:
        now = self.workspace.now()
        moment = None if as_of is None else time_of(as_of, now, "as_of")
        return None if moment is None else refuse_future(moment, now, "as_of", simulated=simulated)

    def _evidence(self, champion: int, version: int) -> dict[str, Any] | None:
        """How a version stands to the champion on their common pairs, or why that is not known."""
        from headrace.tasks.paired import PairRequest

        if champion == version:
            return None
        try:
            return self._compared(PairRequest(champion, version)).as_dict()
        except HeadraceError as error:  # who promotes has decided; that nothing could be compared is told and kept
            return {"versions": [champion, version], "rows": 0, "winner": None, "line": error.message}

    def _compared(self, request: Any) -> Comparison:
        """The comparison of all that was answered, what is only logged so far included."""
        from headrace.pipelines.comparison import compare

        self._exported(request.on_progress)
        return compare(self.declaration, self.workspace.reading, request)

    def _decided(self, before: int | None, evidence: Mapping[str, Any] | None = None) -> Decision:
        """What stands now, by the newest decision that made a champion, beside what stood before it."""
        from headrace.registry.history import in_order, standing

        facts = self.workspace.reading.registry.timeline(self.name).facts
        champion = standing(facts).champion
        reasons = ("promoted", "rolled_back")
        since = [fact.as_of for fact in in_order(facts) if fact.version == champion and fact.event in reasons]
        assert champion is not None
        return Decision(self.name, champion, since[-1], before, evidence)


def _user() -> str:
    """Who runs this process; its number where it has no name."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no entry
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
