"""Who looks: the bearer token of a session, in a signed cookie that no script can read; and the tokens of forms."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

COOKIE, NOTICE = "headrace_session", "headrace_notice"
_MOST = 3000
"""Characters of a cookie that is read: browsers keep no more than 4096."""
_NOTICE_SECONDS = 60


@dataclass(frozen=True)
class ViewerSession:
    """What a cookie says.

    Attributes:
        token: The bearer token for the API; empty for those who have not logged in.
        until: The second of the clock at which it ends.
        salt: Makes the tokens of forms differ from session to session.
    """

    token: str
    until: int
    salt: str

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.until}.{self.salt}.{_coded(self.token)}"


class Sessions:
    """Makes and reads the cookies of sessions, and of the one notice that a write leaves for the next page.

    Args:
        key: Signs them.
        hours: How long a session is good for.
        clock: The time in seconds.
    """

    def __init__(self, key: bytes, hours: float, clock: Callable[[], float] = time.time) -> None:
        self._key, self._seconds, self._clock = key, int(hours * 3600), clock

    def of(self, request: Request) -> ViewerSession | None:
        """The session of a request; None without a cookie, or with one that is too old or not ours."""
        text = self._checked("session", request.cookies.get(COOKIE, ""))
        if text is None:
            return None
        until, salt, token = text.split(".")
        if int(until) <= self._clock():
            return None
        return ViewerSession(_plain(token), int(until), salt)

    def begin(self, token: str = "") -> ViewerSession:
        """A new session."""
        return ViewerSession(token, int(self._clock()) + self._seconds, secrets.token_urlsafe(12))

    def keep(self, response: Response, request: Request, session: ViewerSession) -> None:
        """Hand the browser a session."""
        self._set(response, request, COOKIE, self._signed("session", session.text), self._seconds)

    def end(self, response: Response, request: Request) -> None:
        """Have the browser forget its session."""
        response.delete_cookie(COOKIE, path=_path(request), httponly=True, samesite="lax")

    def leave(self, response: Response, request: Request, text: str) -> None:
        """Leave a notice for the next page."""
        self._set(response, request, NOTICE, self._signed("notice", _coded(text[:400])), _NOTICE_SECONDS)

    def notice(self, request: Request) -> str:
        """The notice that was left, if one was."""
        text = self._checked("notice", request.cookies.get(NOTICE, ""))
        return "" if text is None else _plain(text)

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


def _coded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _plain(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):  # it is signed: only one that was made by other code comes here
        return ""
