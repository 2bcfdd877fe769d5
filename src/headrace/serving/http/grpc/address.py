"""Where the gRPC service listens."""

from __future__ import annotations

import importlib.util
import socket
from dataclasses import dataclass

from headrace.errors import UsageError
from headrace.serving.http.binding import Binding


@dataclass(frozen=True)
class At:
    """Where the service listens.

    Attributes:
        host: Address or name.
        port: Of it.
        several: Whether several processes listen on it.
        tls: Key, certificate and, where clients must have one, their authorities: PEM.
    """

    host: str
    port: int
    several: bool = False
    tls: tuple[bytes, bytes, bytes | None] | None = None

    @classmethod
    def of(cls, binding: Binding) -> At | None:
        """Where a server is told to speak gRPC; None where it is not.

        Raises:
            UsageError: grpcio is not installed, or the port is taken.
        """
        port = binding.grpc_port
        if port is None:
            return None
        if importlib.util.find_spec("grpc") is None:
            raise UsageError("gRPC needs grpcio", where="--grpc-port", hint="pip install 'headrace[grpc]'")
        family, kind, protocol, _, address = socket.getaddrinfo(binding.host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(address)
            except OSError as error:
                where = f"{binding.host}:{port}"
                message = f"cannot listen for gRPC: {error.strerror}"
                raise UsageError(message, where=where, hint="choose another --grpc-port") from error
        tls = None
        if binding.tls_cert is not None and binding.tls_key is not None:
            authorities = binding.tls_ca.read_bytes() if binding.tls_ca is not None else None
            tls = binding.tls_key.read_bytes(), binding.tls_cert.read_bytes(), authorities
        return cls(binding.host, port, binding.workers > 1, tls)
