"""What models of rows have in common: which learners are tried, and on which parts of the rows they are compared."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PlainSerializer, SerializeAsAny

from headrace.errors import DeclarationError
from headrace.features.expression import Expression, from_dict
from headrace.features.view import Features
from headrace.models.base import LEARNER_KINDS, Learner, Model, check_members
from headrace.models.boosting import Boosting
from headrace.models.linear import Linear

if TYPE_CHECKING:
    from headrace.contract import Column


Member = Annotated[SerializeAsAny[Learner], BeforeValidator(LEARNER_KINDS.from_data)]


def _condition(value: object) -> object:
    """A condition from its JSON form, as configuration gives it."""
    return from_dict(dict(value)) if isinstance(value, Mapping) else value


Condition = Annotated[
    Expression, BeforeValidator(_condition), PlainSerializer(lambda expression: expression.as_dict(), when_used="json")
]
"""Something that is true of some rows and not of others."""


class Tabular(Model):
    """A model of rows. Compared on held-out rows are every member alone, all together as the mean of what they say, and
    all by weights, none below 0, that fit what others of the rows held out. Members of no weight are left out of a
    blend, which is taken only where it is better by more than the standard error of the difference.

    Where rows have a time, a part is held out for fits on what came before it; where they have groups, whole groups
    are; otherwise random parts, drawn anew in every repeat. The best is fitted on all rows.

    Attributes:
        members: What is tried.
        baselines: What the best must beat, such as `Rules`: measured on the same held-out rows and told beside it. One
            that is better by more than the standard error of the difference is served in its place.
        folds: Parts that are held out, one after the other.
        repeats: How often that is repeated with other parts, or with other seeds of the members.
        groups: Column whose rows of one value are held out together, such as a customer's; rows without one are one
            group. There must be as many as `folds`.
        max_rows: Rows of a training that are in memory at once. Of more, features lie in files below the home.
            `Linear`, asked for a number, reads all part by part; other members are fitted on so many, chosen by a
            hash of their keys. One part alone is held out then, once.
        seed: Of the parts and the members.
        notes: By feature, what is done for a row whose value no row of the training had: a category or key that is new,
            one that is missing where none was, an empty text, a number beyond all others. An answer then says so in its
            ``notes``: ``{"brand": "priced by category"}`` becomes ``unseen brand: priced by category``.
        learn_from: Rows of which this is not true are set apart in training, such as ``col("price") > 0`` where a price
            of 0 is a mistake: they are counted, and `evaluate` tells metrics with and without such rows.
    """

    of_answers: ClassVar[tuple[str, ...]] = ("notes",)
    """Settings that say what an answer holds beside the number: no error measures them."""
    members: tuple[Member, ...] = Field(default=(Linear(), Boosting()), min_length=1)
    baselines: tuple[Member, ...] = ()
    folds: int = Field(default=5, ge=2)
    repeats: int = Field(default=3, ge=1)
    groups: str | None = None
    max_rows: int = Field(default=200_000, ge=100)
    seed: int = Field(default=0, ge=0)
    notes: dict[str, str] = Field(default_factory=dict)
    learn_from: Condition | None = None

    @property
    def discrete(self) -> bool:
        """Whether it predicts one of some values, which the contract declares or the rows show."""
        return False

    @abstractmethod
    def output(self, values: Sequence[Any]) -> str:
        """The kind of its output.

        Args:
            values: Those that the target may have, of a discrete one; as many as are declared or known.
        """

    def asks(self, values: Sequence[Any]) -> str:
        """What learners are asked for, see `headrace.models.base.Training`: the kind itself, unless it is your own."""
        return self.output(values)

    def check(self, *, target: Column, features: Features, step: timedelta | None, horizon: timedelta | None) -> None:
        """Refuse a system that forecasts, and members that cannot be asked for this output."""
        name = type(self).__name__
        if horizon is not None:
            raise DeclarationError(
                f"a {name} scores rows, it does not forecast", where="model", hint="use Forecaster()"
            )
        if self.groups == target.name:
            message = f"rows of one {target.name!r} cannot be held out together: it is what is predicted"
            raise DeclarationError(message, where="model.groups", hint="name the column of what rows belong to")
        kind = self.asks(declared_values(target) or ())
        check_members(self.members, kind, features)
        for feature in self.notes:
            if feature not in features:
                message = f"{feature!r} is no feature, so nothing can be said of it"
                raise DeclarationError(message, where="model.notes", hint=f"one of {', '.join(features)}")
        check_members(self.baselines, kind, features, "baselines")

    @property
    def further(self) -> tuple[str, ...]:
        """Columns that answers have beside those of their output."""
        return ("notes",) if self.notes else ()

    @property
    def columns_of_condition(self) -> tuple[str, ...]:
        """The columns that `learn_from` reads."""
        return () if self.learn_from is None else tuple(sorted(self.learn_from.columns()))

    @property
    def names(self) -> list[str]:
        """Of the members, each its own."""
        return [f"{place}_{member.kind}" for place, member in enumerate(self.members)]

    @property
    def baseline_names(self) -> list[str]:
        """Of the baselines, each its own: its kind, numbered from the second on."""
        kinds_all = [baseline.kind for baseline in self.baselines]
        counts = [kinds_all[:place].count(kind) + 1 for place, kind in enumerate(kinds_all)]
        return [kind if count == 1 else f"{kind}_{count}" for kind, count in zip(kinds_all, counts, strict=True)]


def declared_values(target: Column) -> tuple[Any, ...] | None:
    """The values that a target may have, in their order; None where the contract does not say."""
    if target.type == "boolean":
        return False, True
    return tuple(target.values) if target.values else None
