"""Passwords in URIs: also those that are written so that no parser sees them."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

_SECRETS = frozenset(("password", "passwd", "pwd", "sslpassword"))


def login_of(uri: str) -> str:
    """Who logs in, as it is written: all between the scheme and the last ``@``, for a password may hold any character.

    >>> login_of("postgresql://bob:hun/ter2@db.example/shop")
    'bob:hun/ter2'
    """
    scheme, _, rest = uri.partition(":")
    return rest.removeprefix("//").rpartition("@")[0] if scheme else ""


def holds_password(uri: str) -> bool:
    """Whether a URI may hold a password, before its host or in its query.

    >>> rests = "bob@db/shop", "bob%3Ahun@db/shop", "db/shop?PASSWORD=hun"
    >>> [holds_password(f"postgresql://{rest}") for rest in rests]
    [False, True, True]
    """
    query = uri.partition("?")[2].replace(";", "&")
    names = (name.lower() for name, _ in parse_qsl(query, keep_blank_values=True))
    return ":" in unquote(login_of(uri)) or any(name in _SECRETS for name in names)


def is_cut(uri: str) -> bool:
    """Whether a password has a ``/``, ``?`` or ``#`` that is not escaped: what follows is then taken for a path.

    >>> is_cut("postgresql://bob:hun/ter2@db/shop"), is_cut("postgresql://bob:hun%2Fter2@db/shop")
    (True, False)
    """
    before, at_sign, _ = uri.partition("://")[2].partition("@")
    ends = [place for sign in "/?#" if (place := before.find(sign)) >= 0]
    return bool(at_sign and ends) and ":" in unquote(before[: min(ends)])
