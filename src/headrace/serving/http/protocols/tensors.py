"""Tensors of the Open Inference Protocol as columns, and columns as tensors: as JSON, and in bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.serving.http.problem import Problem

if TYPE_CHECKING:
    import numpy as np

Parameters = dict[str, Any]

OF_KIND = {"string": "BYTES", "integer": "INT64", "number": "FP64", "boolean": "BOOL"}
"""The datatype of a column whose values JSON Schema calls so."""
_NUMPY = {f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)}
_NUMPY |= {f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)}
_NUMPY |= {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BOOL": "|b1"}
_LENGTH = struct.Struct("<I")
_NONE = type(None)
_CONTENT = frozenset(("", "np", "str", "pd", "datetime"))
"""What clients may say a tensor holds; of others (``base64``) its values would mean something else."""
_BINARY = "binary_data_size"


class Tensor(msgspec.Struct):
    """A tensor that was posted.

    Attributes:
        shape: ``[n]`` or ``[n, 1]``.
        data: Its values, in lists or not; absent where they stand in bytes behind the document.
    """

    name: str
    datatype: str
    shape: list[int]
    data: Any = None
    parameters: Parameters | None = None

    @property
    def size(self) -> int | None:
        """Bytes that it has behind the document, where it has any."""
        found = (self.parameters or {}).get(_BINARY)
        if found is None:
            return None
        if type(found) is not int or found < 0:
            raise self.wrong(f"{_BINARY} is not a number of bytes")
        return found

    @property
    def height(self) -> int:
        """How many rows it has values for.

        Raises:
            Problem: It is not a column.
        """
        if len(self.shape) not in (1, 2) or self.shape[1:] not in ([], [1]) or self.shape[0] < 0:
            raise self.wrong(f"has the shape {self.shape[:5]}: a tensor is one column, so [n] or [n, 1]")
        return self.shape[0]

    def wrong(self, said: str) -> Problem:
        """The refusal of this tensor."""
        errors = [{"loc": ["body", "inputs", self.name[:80]], "msg": said}]
        return Problem(400, f"the tensor {self.name[:80]!r} {said}", errors=errors, reason="bad_tensor")

    def values(self, after: memoryview | None) -> list[Any]:
        """Its values, None where one is missing.

        Args:
            after: Its bytes behind the document; None where it has none.

        Raises:
            Problem: They are not those of its datatype and shape.
        """
        if self.datatype not in _NUMPY and self.datatype != "BYTES":
            raise self.wrong(f"has the datatype {self.datatype[:40]!r}: there are BYTES, {', '.join(_NUMPY)}")
        content = (self.parameters or {}).get("content_type") or ""
        if content not in _CONTENT:
            raise self.wrong(f"has the content type {str(content)[:40]!r}, which is not known here")
        if "shared_memory_region" in (self.parameters or {}):
            raise self.wrong("stands in shared memory, which is not read here")
        if after is None:
            return self._of_json()
        if self.data is not None:
            raise self.wrong(f"has both data and {_BINARY}")
        return self._of_text(after) if self.datatype == "BYTES" else self._of_numbers(after)

    def _of_json(self) -> list[Any]:
        data, height = self.data, self.height
        if not isinstance(data, list):
            raise self.wrong("has no data")
        if len(self.shape) == 2 and data and all(row.__class__ is list for row in data):
            if any(len(row) != 1 for row in data):
                raise self.wrong("has lists of other lengths than its shape")
            data = [row[0] for row in data]
        if len(data) != height:
            raise self.wrong(f"has {len(data):,} values, and a shape of {height:,}")
        other = set(map(type, data)) - self._types()
        if other:
            place = next(place for place, value in enumerate(data) if type(value) in other)
            raise self.wrong(f"has a value that is no {self.datatype}, at {place}")
        if self.datatype in _NUMPY and _NUMPY[self.datatype][1] in "iu":
            self._refuse_beyond([value for value in data if value is not None])
        return data

    def _types(self) -> set[type]:
        if self.datatype == "BYTES":
            return {str, _NONE}
        kind = _NUMPY[self.datatype][1]
        return {bool, _NONE} if kind == "b" else {int, _NONE} if kind in "iu" else {int, float, _NONE}

    def _refuse_beyond(self, numbers: Sequence[int]) -> None:
        bits, signed = 8 * int(_NUMPY[self.datatype][2:]), _NUMPY[self.datatype][1] == "i"
        least, greatest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        if numbers and not least <= min(numbers) <= max(numbers) <= greatest:
            raise self.wrong(f"has a number that {self.datatype} cannot hold")

    def _of_numbers(self, data: memoryview) -> list[Any]:
        import numpy as np

        kind = np.dtype(_NUMPY[self.datatype])
        if len(data) != self.height * kind.itemsize:
            raise self.wrong(f"has {len(data):,} bytes, and {self.height:,} values of {kind.itemsize}")
        if self.datatype == "BOOL" and len(data) and max(data) > 1:
            raise self.wrong("has a byte that is neither 0 nor 1")
        numbers = np.frombuffer(data, kind)
        return self._finite(numbers) if kind.kind == "f" else numbers.tolist()

    def _finite(self, numbers: np.ndarray[Any, Any]) -> list[Any]:
        """Floats; what is no number is a missing value, because a tensor has no other way to say so."""
        import numpy as np

        infinite = np.isinf(numbers)
        if infinite.any():
            message = "is not a finite number"
            errors = [
                {"loc": ["body", int(index), self.name[:80]], "msg": message}
                for index in np.flatnonzero(infinite)[:100]
            ]
            raise Problem(422, f"{self.name[:80]}: {message}", errors=errors, reason="bad_row")
        values: list[Any] = numbers.astype(np.float64).tolist()
        return [None if value != value else value for value in values] if np.isnan(numbers).any() else values

    def _of_text(self, data: memoryview) -> list[Any]:
        texts, position, end = [], 0, len(data)
        while position < end:
            if position + _LENGTH.size > end:
                raise self.wrong("ends within the length of a text")
            begin = position + _LENGTH.size
            position = begin + _LENGTH.unpack_from(data, position)[0]
            if position > end:
                raise self.wrong("ends within a text")
            try:
                texts.append(str(data[begin:position], "utf-8"))
            except UnicodeDecodeError as error:
                raise self.wrong(f"has a text that is not UTF-8, at {len(texts)}") from error
        if len(texts) != self.height:
            raise self.wrong(f"has {len(texts):,} texts, and a shape of {self.height:,}")
        return texts


def of_bytes(values: Sequence[Any], datatype: str) -> bytes:
    """Values as they stand behind a document. A missing number is NaN, a missing text is empty."""
    if datatype == "BYTES":
        texts = [("" if value is None else value).encode() for value in values]
        return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))
    return of_numbers([math.nan if value is None else value for value in values], datatype)


def of_numbers(values: Sequence[Any], datatype: str) -> bytes:
    """Numbers and truths as they stand behind a document.

    Raises:
        OverflowError: One is beyond the datatype.
    """
    import numpy as np

    return np.array(list(values), dtype=_NUMPY[datatype]).tobytes()
