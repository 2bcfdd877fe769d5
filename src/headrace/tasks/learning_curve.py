"""How the error on data that no fit saw falls with the data that is learnt from: what more of it would be worth.

All fits are judged on the same later or held-out data, so that only what they learnt from differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from headrace.errors import NotEnoughDataError
from headrace.system import System
from headrace.tasks.objective import Objective
from headrace.tasks.sections import ReportCurve, ReportSentence, ReportTable, Section
from headrace.tasks.verdict import called

TITLE = "Learning curve"
SHARES = (0.125, 0.25, 0.5, 1.0)
"""Of the data that is learnt from; the smaller ones are parts of the larger."""
_WORDS = {0.125: "an eighth", 0.25: "a quarter", 0.5: "half", 1.0: "all"}
CLEAR = 2.0
"""A difference of so many standard errors is no accident."""
_EDGE = 1.96
"""Standard errors on either side of a point of the chart."""


@dataclass(frozen=True)
class CurvePoint:
    """The error of one share.

    Attributes:
        share: Of the data that could be learnt from, above 0, up to 1.
        count: How much that is.
        error: On the unseen data; less is better.
        standard_error: By the jackknife over blocks of the unseen data; None where it cannot be told.
    """

    share: float
    count: int
    error: float
    standard_error: float | None


@dataclass(frozen=True)
class LearningCurve:
    """The errors of all shares.

    Attributes:
        measure: What the error is called.
        unit: What is learnt from: ``rows``, or ``steps`` of every series.
        judged: How much all were judged on.
        judged_unit: Of what: ``rows`` or ``forecasts``.
        points: By share, ascending; the last is of all.
        too_few: Shares that were too little to learn from.
        gain: By how much the last share's error is less than the one's before it; None where that is the only one.
        gain_error: The standard error of that difference, on the same pairs.
    """

    measure: str
    unit: str
    judged: int
    judged_unit: str
    points: tuple[CurvePoint, ...]
    too_few: tuple[float, ...] = ()
    gain: float | None = None
    gain_error: float | None = None

    @property
    def helps(self) -> bool | None:
        """Whether more would help, as far as the last doubling tells; None where it does not."""
        if self.gain is None or self.gain_error is None:
            return None
        return self.gain > CLEAR * self.gain_error

    @property
    def sentence(self) -> str:
        """What it means, in words."""
        whole = self.points[-1]
        if self.gain is None:
            return f"Fewer than all {whole.count:,} {self.unit} are too few to learn from: nothing is known of more."
        before = self.points[-2]
        name, more = called(self.measure), "less" if self.gain >= 0 else "more"
        text = (
            f"{_WORDS[before.share].capitalize()} of the {self.unit} gave a {name} of {before.error:.4g}, all of them "
        )
        text += f"{whole.error:.4g}: {abs(self.gain):.2g} {more}"
        if self.gain_error is None:
            return f"{text}. How much of that is noise cannot be told."
        text += f", with a standard error of {self.gain_error:.2g}"
        if self.helps:
            return f"{text}. More {self.unit} would help."
        if self.gain < -CLEAR * self.gain_error:
            return f"{text}. More {self.unit} made it worse: older or other ones may mislead it."
        return f"{text}, so it may be noise. More {self.unit} of the same kind would hardly help."

    def sections(self) -> list[Section]:
        """Those of the card."""
        measure = called(self.measure)
        header = ("learnt from", self.unit, measure, "standard error")
        rows = [(_WORDS[p.share], p.count, p.error, p.standard_error) for p in self.points]
        judged = f"{self.judged:,} {self.judged_unit}"
        note = f"Errors on the same {judged} that no fit had seen; less is better."
        if self.too_few:
            note += f" Too few to learn from: {', '.join(_WORDS[share] for share in self.too_few)}."
        found: list[Section] = [ReportTable(TITLE, header, rows), ReportSentence(self.sentence)]
        if len(self.points) > 1:
            edges = [None if p.standard_error is None else _EDGE * p.standard_error for p in self.points]
            low = [None if e is None else p.error - e for p, e in zip(self.points, edges, strict=True)]
            high = [None if e is None else p.error + e for p, e in zip(self.points, edges, strict=True)]
            title = f"{measure} by {self.unit} learnt from; the band is 1.96 standard errors wide on either side"
            line = (measure, [p.error for p in self.points], "ours")
            found.append(ReportCurve(title, [p.count for p in self.points], [line], band=(low, high)))
        return [*found, ReportSentence(note, note=True)]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the attributes, `helps` and `sentence`."""
        points = [asdict(point) for point in self.points]
        too_few = list(self.too_few)
        return {**asdict(self), "points": points, "too_few": too_few, "helps": self.helps, "sentence": self.sentence}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LearningCurve:
        """What `as_dict` gave.

        >>> curve = LearningCurve("rmse", "rows", 20, "rows", (CurvePoint(1.0, 80, 2.5, 0.1),))
        >>> LearningCurve.from_dict(curve.as_dict()) == curve
        True
        """
        names = ("measure", "unit", "judged", "judged_unit", "gain", "gain_error")
        points = tuple(CurvePoint(**point) for point in data["points"])
        return cls(**{name: data[name] for name in names}, points=points, too_few=tuple(data["too_few"]))


def learning_curve(
    system: System,
    objective: Objective,
    on_progress: Callable[[str, int, int], None] = lambda stage, count, total: None,
) -> LearningCurve:
    """Fit a system on growing shares of what an objective's trials see, and judge each fit on what they never see.

    Args:
        system: The declaration.
        objective: Its task's data.
        on_progress: Told what is fitted, how many fits are done, and of how many.

    Raises:
        NotEnoughDataError: All of it is too little.
    """
    parts, shares, too_few = [], [], []
    for place, share in enumerate(SHARES):
        on_progress(f"learn from {_WORDS[share]} of the {objective.learnt}", place, len(SHARES))
        try:
            parts.append(objective.unseen(system, share))
            shares.append(share)
        except NotEnoughDataError:
            if share == SHARES[-1]:
                raise
            too_few.append(share)
    losses = objective.judged(parts)
    points = tuple(
        CurvePoint(share, objective.size(share), losses.values[place], losses.error(place))
        for place, share in enumerate(shares)
    )
    last = len(points) - 1
    gain = points[last - 1].error - points[last].error if last else None
    gain_error = losses.error(last - 1, last) if last else None
    measured = (objective.measure, objective.learnt, losses.count, losses.unit)
    return LearningCurve(*measured, points, tuple(too_few), gain, gain_error)
