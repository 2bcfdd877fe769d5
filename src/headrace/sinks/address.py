"""The URI of a target, and what of it may be shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from headrace.errors import UsageError
from headrace.lineage import digest_of
from headrace.passwords import is_cut

_HIDDEN = "***"
_SECRET_PATHS = ("http", "https")
"""Webhooks often have their secret in the path: of them no more is shown than the host."""
_PLAIN = frozenset(("account", "location", "protocol", "role", "sslmode", "table", "warehouse"))
"""What of a query may be shown."""


@dataclass(frozen=True)
class Address:
    """A URI in its parts.

    Attributes:
        uri: All of it; it may hold secrets, and is never shown.
        parts: As `urllib` splits it.
        shown: Without passwords, and without what may be one.
    """

    uri: str = field(repr=False)
    parts: SplitResult = field(repr=False)
    shown: str

    @classmethod
    def of(cls, uri: str) -> Self:
        """The address of a URI.

        Raises:
            UsageError: It is none.

        >>> Address.of("postgresql://me:sesame@db.example/shop/predictions").shown
        'postgresql://me:***@db.example/shop/predictions'
        >>> Address.of("https://hooks.example/T0/secret?key=s").shown
        'https://hooks.example/***'
        """
        text = uri.strip()
        try:
            parts = urlsplit(text)
            _ = parts.port if parts.scheme != "kafka" else None  # of a cluster there may be several
        except ValueError:  # which may quote a part of a password
            parts = None
        if parts is None or (parts.scheme not in _SECRET_PATHS and is_cut(text)):
            hint = "write / ? # @ in a password as %2F %3F %23 %40, and the port as a number"
            raise UsageError("is no URI: its host or port cannot be read", where="--to", hint=hint)
        if not parts.scheme:
            raise UsageError("is no URI: it has no scheme", where="--to", hint="write it as https://HOST/PATH")
        return cls(text, parts, _shown(parts))

    @property
    def scheme(self) -> str:
        """In lower case."""
        return self.parts.scheme

    @property
    def query(self) -> dict[str, str]:
        """What stands behind the question mark."""
        return dict(parse_qsl(self.parts.query, keep_blank_values=True))

    @property
    def path(self) -> str:
        """As it is meant, without escapes."""
        return unquote(self.parts.path)

    def hide(self, text: str) -> str:
        """A text of somebody else's, such as an error's, without what is not to be shown."""
        secrets = [self.uri, self.parts.password, unquote(self.parts.password or "")]
        if self.scheme in _SECRET_PATHS:
            secrets += [self.parts.path if len(self.parts.path) > 1 else None, self.parts.query]
        for secret in filter(None, secrets):
            text = text.replace(secret, _HIDDEN)
        return text

    @property
    def mark(self) -> str:
        """Tells this target from others, without telling what it is."""
        return digest_of(self.uri, 12)


def _shown(parts: SplitResult) -> str:
    user, at_sign, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    secret = parts.scheme in _SECRET_PATHS
    login = (_HIDDEN if secret else f"{name}{colon}{_HIDDEN if colon else ''}") + at_sign if at_sign else ""
    path = parts.path if not secret else f"/{_HIDDEN}" if parts.path.strip("/") or parts.query else parts.path
    pairs = [(n, v if n in _PLAIN else _HIDDEN) for n, v in parse_qsl(parts.query, keep_blank_values=True)]
    query = "" if secret or not pairs else "?" + "&".join(f"{n}={v}" for n, v in pairs)
    return f"{parts.scheme}://{login}{host}{path}{query}"
