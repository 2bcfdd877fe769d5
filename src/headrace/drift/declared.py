"""What counts as drift, as a system declares it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from headrace.declaration import Declared, Duration
from headrace.errors import DeclarationError


class DriftLimits(Declared):
    """What counts as drift: first how far, then whether that may be chance.

    A variable has drifted where a distance is above its limit, above what windows as long differed among themselves in
    the training, and no chance: the p-values of all variables, corrected for their number, are at most `false_alarms`.

    Attributes:
        window: How far back from a time what is compared goes. None: ``Monitoring.window``.
        recent: What came so lately is compared with a version that cannot have learnt it: of the same declaration the
            newest that was promoted by then. None: three days, or three evaluation times where these are further apart.
        segments: Columns by whose values it is looked at apart, besides as a whole: of series keys, else any but the
            target.
        false_alarms: How often, at most, anything is called drift where nothing changed.
        least: With fewer rows than this there is no verdict.
        wasserstein: Of numbers: the distance in units of the reference's standard deviation.
        stability: Of numbers: the population stability index over the reference's deciles.
        jensen_shannon: Of categories: the distance, from 0 to 1.
        missing: By how much the share of missing values differs.
        new: By how much the share of values that were not known grows; of texts, that of words.
        least_importance: A feature with a smaller share of the model's importance than this alarms nobody.
    """

    window: Duration | None = None
    recent: Duration | None = None
    segments: tuple[str, ...] = ()
    false_alarms: float = Field(default=0.01, gt=0, lt=1)
    least: int = Field(default=30, ge=1)
    wasserstein: float = Field(default=0.1, gt=0)
    stability: float = Field(default=0.2, gt=0)
    jensen_shannon: float = Field(default=0.1, gt=0, le=1)
    missing: float = Field(default=0.05, gt=0, le=1)
    new: float = Field(default=0.05, gt=0, le=1)
    least_importance: float = Field(default=0.02, ge=0, le=1)

    def check(self, columns: Sequence[str]) -> None:
        """Refuse segments that a system does not have. Called when the system is loaded.

        Args:
            columns: By which it can be looked at.

        Raises:
            DeclarationError: Names the field.
        """
        for place, name in enumerate(self.segments):
            where = f"monitoring.drift.segments[{place}]"
            if name not in columns:
                hint = f"one of {', '.join(columns)}" if columns else "there is no column to look at it by"
                raise DeclarationError(f"drift cannot be looked at by {name!r}", where=where, hint=hint)
            if name in self.segments[:place]:
                raise DeclarationError(f"{name!r} is named twice", where=where)
