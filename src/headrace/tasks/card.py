"""The card of a model version: what it is for, what it was made from, and how good it is where.

It is made at the training, from what the training held out, and kept with the version's files: as data, as Markdown and
as one page of HTML. The same training gives the same bytes, in whatever parts a home got its rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from headrace.errors import ArtefactError
from headrace.pages.page import Page
from headrace.system import System
from headrace.tasks.learning_curve import LearningCurve
from headrace.tasks.sections import ReportCurve, ReportHeading, ReportSentence, ReportTable, Section
from headrace.tasks.shown import as_markdown, show
from headrace.tasks.verdict import Verdict

FOLDER = "card"
"""Of a version's files."""
OF_THE_HOME = "data_version"
"""The pin that counts the writes of a home: one backfill and many live runs make the same model, with other counts."""
_DATA = "card.json"
_MADE_FROM = "What it was made from"
_KINDS: Mapping[str, type[Any]] = {
    "heading": ReportHeading,
    "sentence": ReportSentence,
    "table": ReportTable,
    "curve": ReportCurve,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True)
class ModelCard:
    """What is to be known of a version.

    Attributes:
        title: The system and its target.
        subtitle: As of when it was made.
        sections: In the order of the page.
        learning_curve: Its error by how much it learns from, where somebody asked for that.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]
    learning_curve: LearningCurve | None = None

    def with_first(self, *sections: Section) -> ModelCard:
        """The same with sections before all others, such as what is known only of a registered version."""
        return replace(self, sections=(*sections, *self.sections))

    def with_curve(self, curve: LearningCurve | None) -> ModelCard:
        """The same with a learning curve after what the model looks at; itself where there is none."""
        if curve is None:
            return self
        titles = [section.title if isinstance(section, ReportTable) else "" for section in self.sections]
        place = titles.index(_MADE_FROM) if _MADE_FROM in titles else len(titles)
        sections = (*self.sections[:place], *curve.sections(), *self.sections[place:])
        return replace(self, sections=sections, learning_curve=curve)

    def markdown(self) -> str:
        """The card as Markdown."""
        parts = [f"# {self.title}", self.subtitle, *map(as_markdown, self.sections)]
        return "\n\n".join(part for part in parts if part) + "\n"

    def html(self) -> str:
        """The card as a page that needs nothing else: no file, no script, no network."""
        page = Page(self.title, self.subtitle)
        for section in self.sections:
            show(page, section)
        return page.html()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``title subtitle sections[]{kind ...} learning_curve``."""
        curve = None if self.learning_curve is None else self.learning_curve.as_dict()
        return {**self._kept(), "learning_curve": curve}

    def _kept(self) -> dict[str, Any]:
        """What a training knows."""
        sections = [{"kind": _NAMES[type(section)], **asdict(section)} for section in self.sections]
        return {"title": self.title, "subtitle": self.subtitle, "sections": sections}

    def save(self, folder: Path) -> None:
        """Write its three forms below the folder of a model's files."""
        target = folder / FOLDER
        target.mkdir()
        (target / _DATA).write_text(json.dumps(self._kept(), indent=1, sort_keys=True), encoding="utf-8")
        (target / "card.md").write_text(self.markdown(), encoding="utf-8")
        (target / "card.html").write_text(self.html(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ModelCard:
        """The card among a version's files.

        Raises:
            ArtefactError: It has none, or a damaged one.
        """
        try:
            data = json.loads((folder / FOLDER / _DATA).read_text(encoding="utf-8"))
            return cls(data["title"], data["subtitle"], [_section(each) for each in data["sections"]])
        except OSError as error:
            raise ArtefactError("the version has no card", where=str(folder), hint="train it anew") from error
        except (ValueError, LookupError, TypeError) as error:
            raise ArtefactError("the card is damaged", where=str(folder), hint="train it anew") from error


def _section(data: Mapping[str, Any]) -> Section:
    section: Section = _KINDS[data["kind"]](**{name: value for name, value in data.items() if name != "kind"})
    return section


def of_version(
    system: System,
    pins: Mapping[str, Any],
    params: Mapping[str, Any],
    verdict: Verdict | None,
    sections: Sequence[Section],
) -> ModelCard:
    """The card of a fitted model: what every task says, and the task's own sections.

    Args:
        system: The declaration.
        pins: What it was made from.
        params: What it was fitted with.
        verdict: How it stands beside the baselines; None where nothing says so.
        sections: How good it is where, by its task.
    """
    intended = system.intended_use or "Not declared; System(intended_use=...) says it."
    said = [ReportSentence(system.description)] if system.description else []
    kind = params.get("output") or (f"forecast {system.config()['horizon']} ahead" if system.forecasts else "value")
    about = [("predicts", f"{system.target} ({kind})"), ("model", params.get("kind", type(system.model).__name__))]
    about += [("members chosen", params["chosen"])] if params.get("chosen") else []
    names = sorted(system.features.names)
    reads = f"It reads {len(names)} features: {', '.join(names)}." if names else ""
    made = [(name, _short(value)) for name, value in pins.items() if name not in ("made_from", OF_THE_HOME)]
    return ModelCard(
        f"{system.name}: model card",
        f"trained on what was known at {pins['as_of']}",
        [
            *said,
            ReportHeading("Intended use"),
            ReportSentence(intended),
            ReportTable("What it is", ("", " "), about),
            *([ReportSentence(reads)] if reads else []),
            *_beside(verdict),
            *sections,
            ReportTable(_MADE_FROM, ("pin", "value"), made),
            *_limits(system, pins),
        ],
    )


def _beside(verdict: Verdict | None) -> list[Section]:
    if verdict is None:
        sentence = ReportSentence("Nothing has matured to compare it with baselines.")
        return [ReportHeading("Beside baselines"), sentence]
    rows: list[tuple[str, float]] = [("this model", verdict.ours), *verdict.baselines.items()]
    table = ReportTable("Beside baselines", ("prediction", verdict.measure), sorted(rows, key=lambda row: row[1]))
    note = f"On {verdict.pairs:,} predictions that no fit had seen; less is better. It is {verdict.line()}."
    return [table, ReportSentence(note, note=True)]


def _limits(system: System, pins: Mapping[str, Any]) -> list[Section]:
    """What it cannot know, as the declaration and the data have it."""
    said = [f"It knows nothing that became known after {pins['as_of']}."]
    if isinstance(rows := pins.get("rows"), int) and rows < _FEW:
        said.append(f"It learnt from {rows:,} rows: figures of parts of them are rough.")
    column = system.contract.column(system.target)
    ends = [(word, end) for word, end in (("under", column.minimum), ("over", column.maximum)) if end is not None]
    if ends:
        said.append(f"The contract lets no {system.target} be {' or '.join(f'{word} {end}' for word, end in ends)}.")
    said.append("Figures of parts with few rows say little; rows of kinds that the training did not have are guesses.")
    return [ReportHeading("Limits"), *map(ReportSentence, said)]


_FEW = 1000


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
