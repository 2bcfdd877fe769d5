"""The embedder of an `Embedding` feature, pinned by its digest: texts as rows of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import ArtefactError
from headrace.models.embedder import embedder_of, vector_of
from headrace.models.sparse import SparseRow, SparseRows

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class TextEmbedding:
    """Turns texts into the numbers of an embedder. Every column of a row is there, also where it is 0.

    Attributes:
        model: The name of the embedder.
        digest: Of the embedder that the model was trained with.
        width: How many numbers a text becomes.
    """

    model: str
    digest: str
    width: int

    @classmethod
    def of(cls, model: str) -> TextEmbedding:
        """With the embedder that is installed.

        Raises:
            NotFoundError: There is none of this name.
            PluginError: What it needs is not installed.
        """
        embedder = embedder_of(model)
        return cls(model, embedder.digest, embedder.dimensions)

    def of_series(self, texts: pl.Series) -> SparseRows:
        """Many rows.

        Args:
            texts: As the feature gives them.
        """
        return self.of_texts(texts.to_list())

    def of_texts(self, texts: Sequence[str | None]) -> SparseRows:
        """`of_series` of plain values."""
        embedder, count = embedder_of(self.model), len(texts)
        values = [vector_of(embedder, text or "") for text in texts]
        columns = np.tile(np.arange(self.width), count)
        return SparseRows(
            np.arange(count + 1) * self.width, columns, np.concatenate([np.empty(0), *values]), self.width
        )

    def row(self, text: str | None) -> SparseRow:
        """One row: the very numbers of `of_series`."""
        return SparseRow(np.arange(self.width), vector_of(embedder_of(self.model), text or ""))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back."""
        return {"model": self.model, "digest": self.digest, "width": self.width}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TextEmbedding:
        """What `as_dict` described.

        Raises:
            ArtefactError: The embedder that is installed is another one.
            NotFoundError, PluginError: None is.
        """
        found = cls.of(data["model"])
        if found.digest != data["digest"]:
            message = (
                f"was trained with another {found.model}: {data['digest'][:12]}, and {found.digest[:12]} is installed"
            )
            raise ArtefactError(message, where="embedding", hint="install that version of its package, or train again")
        return found
