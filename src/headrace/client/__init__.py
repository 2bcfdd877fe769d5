"""A client of the HTTP API: `Client`, and `AsyncClient` for an event loop."""

from headrace.client.asking import Retry
from headrace.client.client import AsyncClient, Client
from headrace.client.connecting import ClientOptions

__all__ = ["AsyncClient", "Client", "ClientOptions", "Retry"]
