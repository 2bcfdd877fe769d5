"""Confluent's schema registry: asked once for each schema, and waited for while it does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from headrace.errors import BrokerUnavailableError, ConfigError, StreamError
from headrace.sources.messages.base import Headers, Unreadable
from headrace.sources.patience import Patience

T = TypeVar("T")
_TIMEOUT = 5.0
"""Seconds that the registry has for one request."""
_STRANGE = 30.0
"""Seconds for which a schema that was not there is not asked for again: a flood of bad messages asks once."""
_MANY = 1_000
"""Strange ids that are remembered."""
_PART = 60.0
"""Seconds that one message waits for; then the worker begins anew, so that its group does not take it for dead."""
_WHOLE = frozenset({"max.retries", "retries.wait.ms", "retries.max.wait.ms", "cache.capacity"})
_MAGIC, _HEADER_MAGIC = 0, 1
_HEADER = "__value_schema_id"


def schema_of(value: bytes, headers: Headers) -> str:
    """The id of the schema of a message: a number, or the UUID that a header tells.

    Raises:
        Unreadable: It has none.

    >>> schema_of(b"\\x00\\x00\\x00\\x00\\x07...", ())
    '7'
    """
    header = next((header for name, header in reversed(headers) if name == _HEADER), None)
    if header is not None and len(header) == 17 and header[0] == _HEADER_MAGIC:
        return str(UUID(bytes=header[1:]))
    if len(value) < 6 or value[0] != _MAGIC:
        raise Unreadable("is not in Confluent's wire format: it does not begin with the byte 0 and the id of a schema")
    return str(int.from_bytes(value[1:5], "big"))


def within(headers: Headers) -> Any:
    """The message as Confluent's deserialisers look at it: they read the id from headers, too."""
    from confluent_kafka.serialization import MessageField, SerializationContext

    return SerializationContext("", MessageField.VALUE, list(headers))


class SchemaRegistry:
    """A schema registry.

    Args:
        settings: Of Confluent's client: ``url``, ``basic.auth.user.info`` and so on.
        patience: How long it is waited for.

    Raises:
        ConfigError: A setting is not known, or does not fit.
    """

    def __init__(self, settings: Mapping[str, str], patience: Patience) -> None:
        from confluent_kafka.schema_registry import SchemaRegistryClient

        self.url, self._patience = settings["url"], patience
        # Its own retries would keep the worker from telling that it waits.
        options: dict[str, Any] = {"max.retries": 0, "timeout": _TIMEOUT, **settings}
        options |= {name: int(options[name]) for name in _WHOLE & options.keys()}
        try:
            self.client: Any = SchemaRegistryClient.new_client({**options, "timeout": float(options["timeout"])})
        except (ValueError, TypeError) as error:
            raise ConfigError(str(error), where="HEADRACE_SCHEMA_REGISTRY") from error
        self._strange: dict[str, tuple[float, str]] = {}

    def ask(self, what: str, question: Callable[[], T]) -> T:
        """What a question gives that may need a schema of the registry.

        Args:
            what: Which schema it is about, such as its id.
            question: Asks.

        Raises:
            Unreadable: The registry does not know the schema.
            StreamError: The registry refuses.
            BrokerUnavailableError: It did not answer for as long as it is waited for.
        """
        from confluent_kafka.schema_registry.error import OAuthTokenError, SchemaRegistryError
        from httpx2 import HTTPError

        moment, reason = self._strange.get(what, (-_STRANGE, ""))
        if time.monotonic() - moment < _STRANGE:
            raise Unreadable(reason)
        patience = self._patience.part()
        patience.seconds = min(patience.seconds, _PART)
        while True:
            try:
                return question()
            except SchemaRegistryError as error:
                status = error.http_status_code
                if status in (404, 422):
                    raise self._unknown(what) from error
                if status < 500 and status not in (408, 429):
                    hint = "how to log in is in HEADRACE_SCHEMA_REGISTRY" if status in (401, 403) else None
                    raise StreamError(f"the schema registry refuses: {error}", where=self.url, hint=hint) from error
                patience.wait(self._away(str(error)))
            except (HTTPError, OAuthTokenError, OSError) as error:
                patience.wait(self._away(str(error)))

    def _unknown(self, schema_id: str) -> Unreadable:
        reason = f"the schema registry does not know schema {schema_id}"
        if len(self._strange) >= _MANY:
            self._strange.clear()
        self._strange[schema_id] = time.monotonic(), reason
        return Unreadable(reason)

    def _away(self, reason: str) -> BrokerUnavailableError:
        return BrokerUnavailableError(
            f"the schema registry does not answer: {reason}", where=self.url, hint="is it running? nothing is set apart"
        )
