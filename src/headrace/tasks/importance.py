"""How much each feature matters to a version: what it adds to predictions, and what splits by it gain.

A contribution is the SHAP value that LightGBM gives for its own trees, or what `headrace.models.explaining` says of
another model; its mean absolute value is over rows that are evenly taken. The gain is the share of what all splits of
the members' trees gain, by the members' weights. The permutation is by how much the loss grows where a feature's values
are shuffled (Breiman 2001): among rows of the training, or among forecasts of the time held back, of which the loss is
WAPE. All are made at the training and kept beside the version's card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import ArtefactError
from headrace.tasks.sections import ReportHeading, ReportSentence, ReportTable, Section

if TYPE_CHECKING:
    from headrace.home import Home
    from headrace.registry import ModelVersion

TITLE = "What it looks at"
_DATA = "importance.json"
_SHOWN = 15


@dataclass(frozen=True)
class FeatureImportance:
    """How much one feature matters.

    Attributes:
        feature: Its name.
        contribution: The mean absolute contribution, on the scale of `Importance`.
        share: Its share in the sum over all features, from 0 to 1.
        gain: Its share in the gain of all splits, from 0 to 1; None where the model has no trees.
        permutation: By how much the loss grows where its values are shuffled; None where that was not tried.
    """

    feature: str
    contribution: float
    share: float
    gain: float | None = None
    permutation: float | None = None


@dataclass(frozen=True)
class Importance:
    """How much each feature matters to a version.

    Attributes:
        features: The most important one first.
        rows: How many predictions were taken apart.
        scale: What contributions are of, such as ``log odds``.
        reason: Why nothing is known; None where something is.
    """

    features: tuple[FeatureImportance, ...] = ()
    rows: int = 0
    scale: str = ""
    reason: str | None = None

    @classmethod
    def of(
        cls,
        contributions: Mapping[str, float],
        rows: int,
        scale: str,
        gains: Mapping[str, float] | None = None,
        permuted: Mapping[str, float] | None = None,
    ) -> Importance:
        """From mean absolute contributions, the gains where there are trees, and losses that grow.

        >>> [(one.feature, one.share) for one in Importance.of({"a": 1.0, "b": 3.0}, 10, "kWh").features]
        [('b', 0.75), ('a', 0.25)]
        """
        whole, gained = sum(contributions.values()) or 1.0, sum((gains or {}).values()) or 1.0
        features = [
            FeatureImportance(
                name,
                value,
                value / whole,
                None if gains is None else gains.get(name, 0.0) / gained,
                None if permuted is None else permuted.get(name),
            )
            for name, value in contributions.items()
        ]
        return cls(tuple(sorted(features, key=lambda one: (-one.contribution, one.feature))), rows, scale)

    @property
    def shares(self) -> dict[str, float]:
        """The share of each feature, by name."""
        return {one.feature: one.share for one in self.features}

    def sections(self) -> list[Section]:
        """Those of the card."""
        if not self.features:
            text = f"Its model cannot tell: {self.reason}." if self.reason else "It reads no feature."
            return [ReportHeading(TITLE), ReportSentence(text)]
        names = ["feature", "contribution", "share"]
        names += [name for name in ("gain", "permutation") if any(getattr(o, name) is not None for o in self.features)]
        lines = [tuple(getattr(one, name) for name in names) for one in self.features[:_SHOWN]]
        note = f"Mean absolute contribution to the {self.scale}, over {self.rows:,} predictions"
        note += "; gain is the share in what all splits of the trees gain" if "gain" in names else ""
        shuffled = "; permutation is by how much the loss grows where values are shuffled"
        note += shuffled if "permutation" in names else ""
        note += "."
        return [ReportTable(TITLE, tuple(names), lines, shares=("share", "gain")), ReportSentence(note, note=True)]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``features[{feature contribution share gain permutation}] rows scale reason``."""
        return {**asdict(self), "features": [asdict(one) for one in self.features]}

    def save(self, folder: Path) -> None:
        """Write it to a folder."""
        (folder / _DATA).write_text(json.dumps(self.as_dict(), indent=1, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Importance:
        """Read what `save` wrote.

        Raises:
            ArtefactError: It is not there, or damaged.
        """
        try:
            data = json.loads((folder / _DATA).read_text(encoding="utf-8"))
            features: Sequence[Mapping[str, Any]] = data.pop("features")
            return cls(tuple(FeatureImportance(**one) for one in features), **data)
        except OSError as error:
            hint = "train it anew"
            raise ArtefactError(
                "the version does not say how its features matter", where=str(folder), hint=hint
            ) from error
        except (ValueError, LookupError, TypeError) as error:
            raise ArtefactError(
                "what it says of its features is damaged", where=str(folder), hint="train it anew"
            ) from error


def importance_of(home: Home, version: ModelVersion) -> Importance:
    """How much each feature matters to a version.

    Raises:
        ArtefactError: What is known about the version is gone or damaged, or it is of before this was kept.
        RegistryError: The tracking server cannot be reached.
    """
    return Importance.load(home.registry.about(version))
