"""Training rows that are more than memory holds: they are read part by part, as often as a learner likes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headrace.models.blocks import BlockFiles
from headrace.models.encoding import Array, Encoded, Encoder
from headrace.models.sparse import Places, SparseRows


@dataclass(frozen=True)
class TrainingParts:
    """What a learner of rows is fitted on that reads them part by part; see `headrace.models.base.Training`.

    Attributes:
        rows: All rows, of which the floats alone can be read: they lie in a file, a column after the other.
        encoder: How features became floats.
        target: Shape (rows,).
        output: What is asked of the learner.
        classes: How many classes there are.
        seed: Of all that is random.
        folder: Where files can be written.
        parts: Reads the rows once more, in their order; floats and n-grams alone can be read.
    """

    rows: Encoded
    encoder: Encoder
    target: Array
    output: str
    classes: int
    seed: int
    folder: Path
    parts: Callable[[], Iterator[Encoded]]

    def __iter__(self) -> Iterator[Encoded]:
        return self.parts()

    @contextmanager
    def files(self, blocks: Iterable[SparseRows]) -> Iterator[tuple[BlockFiles, Places]]:
        """Sparse rows as files, and the columns that they have; gone when this is left."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield BlockFiles.written(Path(folder), blocks)
