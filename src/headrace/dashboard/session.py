"""Who looks: a session that ends at log-out, in a signed cookie that no script can read; and the tokens of forms.

The bearer token is split: the cookie has random bytes, the server what makes them the token. Neither tells it alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from headrace.dashboard.live import LiveSessions

COOKIE, NOTICE = "headrace_session", "headrace_notice"
_MOST = 3000
"""Characters of a cookie that is read: browsers keep no more than 4096."""
_NOTICE_SECONDS = 60


@dataclass(frozen=True)
class ViewerSession:
    """Who looks, and until when.

    Attributes:
        token: The bearer token for the API; empty for those who have not logged in.
        until: The second of the clock at which it ends.
        salt: Makes the tokens of forms differ from session to session.
        half: The cookie's half of the token, as random as it is long.
    """

    token: str
    until: int
    salt: str
    half: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.until}.{self.salt}.{_coded(self.half)}"


class Sessions:
    """Makes and reads the cookies of sessions, and of the one notice that a write leaves for the next page.

    Args:
        key: Signs them.
        hours: How long a session is good for.
        live: Those that people are logged in with.
        clock: The time in seconds.
    """

    def __init__(self, key: bytes, hours: float, live: LiveSessions, clock: Callable[[], float] = time.time) -> None:
        self._key, self._seconds, self._live, self._clock = key, int(hours * 3600), live, clock

    def of(self, request: Request) -> ViewerSession | None:
        """The session of a request; None without a cookie, or with one that is too old, logged out or not ours."""
        text = self._checked("session", request.cookies.get(COOKIE, ""))
        if text is None:
            return None
        until, salt, coded = text.split(".")
        if int(until) <= self._clock():
            return None
        half = _plain(coded)
        rest = self._live.half(text) if half else b""
        return None if rest is None else ViewerSession(_joined(half, rest).decode(), int(until), salt, half)

    def begin(self, token: str = "") -> ViewerSession:
        """A new session; one with a token is good until it ends here.

        Raises:
            ApiRefusal: 503: it cannot be kept.
        """
        half = secrets.token_bytes(len(token.encode()))
        session = ViewerSession(token, int(self._clock()) + self._seconds, secrets.token_urlsafe(12), half)
        if token:
            self._live.begin(session.text, session.until, _joined(half, token.encode()))
        return session

    def keep(self, response: Response, request: Request, session: ViewerSession) -> None:
        """Hand the browser a session."""
        self._set(response, request, COOKIE, self._signed("session", session.text), self._seconds)

    def end(self, session: ViewerSession) -> None:
        """End a session, whoever else has its cookie.

        Raises:
            ApiRefusal: 503: it cannot be ended.
        """
        self._live.end(session.text)

    def forget(self, response: Response, request: Request) -> None:
        """Have the browser forget its session."""
        response.delete_cookie(COOKIE, path=_path(request), httponly=True, samesite="lax")

    def leave(self, response: Response, request: Request, text: str) -> None:
        """Leave a notice for the next page."""
        self._set(response, request, NOTICE, self._signed("notice", _coded(text[:400].encode())), _NOTICE_SECONDS)

    def notice(self, request: Request) -> str:
        """The notice that was left, if one was."""
        text = self._checked("notice", request.cookies.get(NOTICE, ""))
        return "" if text is None else _plain(text).decode()

    def form_token(self, session: ViewerSession) -> str:
        """What a form of this session must bring back (CSRF)."""
        return self._mac("form", session.text)

    def check_form(self, session: ViewerSession, given: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(self.form_token(session).encode(), given.encode())

    def _set(self, response: Response, request: Request, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path=_path(request),
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )

    def _signed(self, purpose: str, text: str) -> str:
        return f"{text}.{self._mac(purpose, text)}"

    def _checked(self, purpose: str, value: str) -> str | None:
        """The text of a signed value, if the signature is ours."""
        text, _, mac = value[: _MOST + 1].rpartition(".")
        if not text or len(value) > _MOST or not hmac.compare_digest(self._mac(purpose, text).encode(), mac.encode()):
            return None
        return text

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


def _path(request: Request) -> str:
    return f"{request.scope.get('root_path', '')}/"


def _coded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _plain(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _joined(half: bytes, rest: bytes) -> bytes:
    """The token of its two halves, or one half of the token and the other."""
    return bytes(first ^ second for first, second in zip(half, rest, strict=True))
