"""What the bytes of a file are, whatever its ending says; and text in UTF-8, whichever way it was written."""

from __future__ import annotations

from typing import Protocol

from headrace.errors import SourceError

_UTF8, _UTF16, _UTF32 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff"), (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")
_ZIP = b"PK\x03\x04"
PARQUET = b"PAR1"
_UNPACK = "unpack it first"
_SIGNS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x05\x06", "an empty zip archive", "it holds no file"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook of the old kind (.xls)", "save the sheet as CSV UTF-8"),
    (PARQUET, "a Parquet file", "name it .parquet, so that it is read as such"),
    (b"\x1f\x8b", "gzipped", "name it .gz, so that it is read as such"),
    (b"BZh", "packed with bzip2", _UNPACK),
    (b"\xfd7zXZ\x00", "packed with xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"SQLite format 3\x00", "an SQLite database", "export the table as CSV"),
    (b"%PDF-", "a PDF document", "ask for the data as CSV"),
    (b"<!doctype html", "a web page", "the download gave a page in place of the data; fetch it again"),
    (b"<html", "a web page", "the download gave a page in place of the data; fetch it again"),
)


def refuse_other_kinds(data: bytes, where: str) -> None:
    """Refuses what is plainly no table in text: archives, workbooks, other formats under a wrong ending.

    Raises:
        SourceError: It is of another kind; the message says which, the hint what to do.
    """
    head = data[:64].lstrip().lower()
    for sign, kind, hint in _SIGNS:
        if data.startswith(sign) or (sign.startswith(b"<") and head.startswith(sign)):
            raise SourceError(f"the file is {kind}", where=where, hint=hint)
    if data.startswith(_ZIP):
        kind, hint = _zipped(data)
        raise SourceError(f"the file is {kind}", where=where, hint=hint)


def _zipped(data: bytes) -> tuple[str, str]:
    if b"xl/workbook." in data:
        return "an Excel workbook (.xlsx)", "save the sheet as CSV UTF-8"
    if b"application/vnd.oasis.opendocument" in data[:200]:
        return "an OpenDocument workbook (.ods)", "save the sheet as CSV"
    return "a zip archive", _UNPACK


class ByteStream(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, none at the end."""


def utf8(data: bytes, where: str) -> bytes:
    """The same text in UTF-8 without a byte-order mark; UTF-16 is told by its mark.

    Bytes that are no UTF-8 are left as they are: whoever reads the lines can say in which one they stand.

    Raises:
        SourceError: It is binary, in UTF-32, in UTF-16 without its mark, or damaged UTF-16.
    """
    if data.startswith(_UTF32):
        raise SourceError("the text is in UTF-32", where=where, hint="convert the file to UTF-8")
    if data.startswith(_UTF16):
        try:
            return data.decode("utf-16").encode()
        except UnicodeError as error:
            hint = "the copy or download stopped early; fetch it again, or save it as UTF-8"
            raise SourceError(f"the text in UTF-16 is damaged: {error}", where=where, hint=hint) from error
    data = data.removeprefix(_UTF8)
    refuse_zeros(data, where)
    return data


def is_utf8(data: bytes) -> bool:
    """Whether a text that begins so may be in UTF-8: it has no mark of another form."""
    return not data.startswith((*_UTF32, *_UTF16))


def refuse_zeros(data: bytes, where: str) -> None:
    """Refuse what is no text in UTF-8, because it holds zero bytes.

    Raises:
        SourceError: It does.
    """
    if b"\x00" not in data:
        return
    if _looks_like_utf16(data):
        hint = "save it as UTF-8, or as UTF-16 with its byte-order mark"
        raise SourceError("the text seems to be in UTF-16 without its byte-order mark", where=where, hint=hint)
    raise SourceError("the file holds binary data, not text", where=where, hint="is its ending right?")


def _looks_like_utf16(data: bytes) -> bool:
    """Whether every other byte of the beginning is zero, as in western text."""
    head = data[:200]
    fewer, larger = sorted((head[0::2].count(0), head[1::2].count(0)))
    return larger > 0.4 * len(head) and fewer < 0.1 * len(head)
