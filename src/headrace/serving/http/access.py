"""Who may do what: bearer tokens per system and scope."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from headrace.errors import ConfigError
from headrace.serving.http.problem import Problem
from headrace.settings import Grant, Tokens

READ, PREDICT, DECIDE, WRITE = "read", "predict", "decide", "write"
DOCS, METRICS, READY = "docs", "metrics", "ready"
"""What is open to all where the options say so; ``*:metrics`` is a scope as well."""
_SCOPES = (READ, PREDICT, DECIDE, WRITE)
_CHALLENGE = [(b"www-authenticate", b"Bearer")]


@dataclass(frozen=True, eq=False)
class Grants:
    """What one token may do: systems and scopes; what it is called; and its own limits."""

    pairs: frozenset[tuple[str, str]]
    name: str
    rate: float | None = None
    concurrent: int | None = None


class Access:
    """Checks bearer tokens. Without any token everything is open.

    Args:
        tokens: Tokens to what they may do: ``system:scope``, with ``*`` for any system.

    Raises:
        ConfigError: A grant is not of that form, or a token is empty.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens: list[tuple[bytes, Grants]] = []
        for token, given in tokens.items():
            may = given if isinstance(given, Grant) else Grant(may=given)
            pairs = []
            for grant in may.may:
                system, colon, scope = grant.partition(":")
                if not colon or (scope not in _SCOPES and (system, scope) != ("*", METRICS)):
                    hint = 'write {"TOKEN": ["titanic:predict", "*:read"]}'
                    raise ConfigError(f"{grant!r} is not SYSTEM:SCOPE", where="HEADRACE_TOKENS", hint=hint)
                pairs.append((system, scope))
            if not token.get_secret_value().strip():
                raise ConfigError("a token is empty", where="HEADRACE_TOKENS", hint="anybody could send that one")
            secret = token.get_secret_value().encode()
            name = may.name or f"token {hashlib.sha256(secret).hexdigest()[:8]}"
            self._tokens.append((secret, Grants(frozenset(pairs), name, may.rate, may.concurrent)))

    @property
    def open(self) -> bool:
        """Whether no token is asked for."""
        return not self._tokens

    def check(self, authorization: bytes, system: str, scope: str) -> None:
        """Let a request pass.

        Raises:
            Problem: 401 without a known token, 403 where it does not allow this.
        """
        if not self.may(authorization, system, scope):
            raise Problem(403, f"the token does not allow {scope} on {system[:80]}")

    def may(self, authorization: bytes, system: str, scope: str) -> bool:
        """Whether a request may do this.

        Raises:
            Problem: 401 without a known token.
        """
        granted = self._granted(authorization)
        return granted is None or bool(granted & {(system, scope), ("*", scope)})

    def sees(self, authorization: bytes, system: str) -> bool:
        """Whether a request may do anything at all with a system.

        Raises:
            Problem: 401 without a known token.
        """
        granted = self._granted(authorization)
        return granted is None or any(name in (system, "*") and scope != METRICS for name, scope in granted)

    def allows(self, authorization: bytes, system: str, scope: str) -> bool:
        """As `may`, of all scopes: whoever may write may decide; without any token nobody changes anything.

        Raises:
            Problem: 401 without a known token.
        """
        if scope not in (DECIDE, WRITE):
            return self.may(authorization, system, scope)
        scopes = (scope, WRITE)
        return not self.open and any(self.may(authorization, system, each) for each in scopes)

    def check_change(self, authorization: bytes, system: str, scope: str) -> str:
        """Let a request change something of a system; returns what its token is called.

        Without any token nobody may: what is open to all is nothing that all may change.

        Args:
            authorization: The header.
            system: Name of the system.
            scope: `DECIDE`, which `WRITE` has in it, or `WRITE`.

        Raises:
            Problem: 401 without a known token, 403 where it does not allow this, or no token is configured.
        """
        if self._granted(authorization) is None:
            raise Problem(403, f"nobody may {scope} here: configure a token with {system[:80]}:{scope}")
        if not self.allows(authorization, system, scope):
            raise Problem(403, f"the token does not allow {scope} on {system[:80]}")
        known = self.known(authorization)
        assert known is not None, "it was checked"
        return known.name

    def check_metrics(self, authorization: bytes) -> None:
        """Let a request for the server's metrics pass: ``*:metrics`` allows it, and so does ``*:read``.

        Raises:
            Problem: 401 without a known token, 403 where it does not allow this.
        """
        granted = self._granted(authorization)
        if granted is not None and granted.isdisjoint((("*", METRICS), ("*", READ))):
            raise Problem(403, "the token does not allow metrics")

    def _granted(self, authorization: bytes) -> frozenset[tuple[str, str]] | None:
        """What a request may do; None where everything is open.

        Every known token is compared, each in constant time, so that an answer's time tells nothing.

        Raises:
            Problem: 401 without a known token.
        """
        if not self._tokens:
            return None
        known = self.known(authorization)
        if known is None:
            raise Problem(401, "a known bearer token is needed", headers=_CHALLENGE)
        return known.pairs

    def known(self, authorization: bytes) -> Grants | None:
        """What the token of a request may do; None without a known one."""
        kind, _, given = authorization.partition(b" ")
        found: Grants | None = None
        for token, grants in self._tokens:
            if hmac.compare_digest(token, given.strip()) and kind.lower() == b"bearer":
                found = grants
        return found

    @property
    def grants(self) -> list[Grants]:
        """What each token may do."""
        return [grants for _, grants in self._tokens]
