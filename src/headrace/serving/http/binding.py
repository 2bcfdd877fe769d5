"""Where a server listens: an address or a Unix socket, in the clear or by TLS."""

from __future__ import annotations

import socket
import ssl
import stat
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from headrace.declaration import Declared
from headrace.errors import UsageError

BACKLOG = 2048
_Rooted = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-])?$")]


class Binding(Declared):
    """Where and with how many processes to serve.

    Attributes:
        host: Address or name; IPv6 addresses without brackets.
        port: Of it.
        uds: Path of a Unix socket to listen on instead.
        workers: Processes.
        root_path: What a proxy has taken off the paths that it asks for.
        forwarded_allow_ips: Proxies whose ``X-Forwarded-For`` and ``-Proto`` are believed, with commas; ``*`` for any.
        grpc_port: Where the Open Inference Protocol is spoken over gRPC, on the same host; None: it is not.
        tls_cert: File of the certificate and its chain; with `tls_key` the server speaks TLS alone.
        tls_key: File of its private key.
        tls_ca: File of authorities: clients must have a certificate of one of them.
    """

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8000, ge=1, le=65_535)
    uds: Path | None = None
    workers: int = Field(default=1, ge=1)
    root_path: _Rooted = ""
    forwarded_allow_ips: str = "127.0.0.1"
    grpc_port: int | None = Field(default=None, ge=1, le=65_535)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> Binding:
        if (self.tls_cert is None) != (self.tls_key is None) or (self.tls_ca is not None and self.tls_cert is None):
            raise ValueError("TLS needs both --tls-cert and --tls-key")
        return self

    @property
    def address(self) -> str:
        """The URL, or ``unix:PATH``, at which it is reached."""
        if self.uds is not None:
            return f"unix:{self.uds}"
        scheme = "https" if self.tls_cert is not None else "http"
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}{self.root_path}"

    def tls(self) -> dict[str, Any]:
        """What uvicorn is told of TLS.

        Raises:
            UsageError: A file is not there, or not what it should be.
        """
        if self.tls_cert is None:
            return {}
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.tls_cert, self.tls_key, password=lambda: "")
            if self.tls_ca is not None:
                context.load_verify_locations(self.tls_ca)
        except (OSError, ssl.SSLError) as error:
            where = f"{self.tls_cert}, {self.tls_key}" + (f", {self.tls_ca}" if self.tls_ca else "")
            hint = "name PEM files: a certificate with its chain, and its private key without a password"
            raise UsageError(f"TLS cannot be set up: {error.strerror or error}", where=where, hint=hint) from error
        arguments: dict[str, Any] = {"ssl_certfile": self.tls_cert, "ssl_keyfile": str(self.tls_key)}
        if self.tls_ca is not None:
            arguments |= {"ssl_ca_certs": str(self.tls_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        return arguments

    def bound(self) -> socket.socket:
        """The socket, taken.

        Raises:
            UsageError: It is taken already, or there is no such address.
        """
        if self.uds is not None:
            return self._unix(self.uds)
        hint = "choose another --port"
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        except OSError as error:
            raise UsageError(
                f"cannot listen: {error.strerror}", where=self.host, hint="choose another --host"
            ) from error
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return self._taken(sock, address, hint)

    def _unix(self, path: Path) -> socket.socket:
        """A socket at a path; one that a server left there, which nobody answers, is taken away."""
        sock = socket.socket(socket.AF_UNIX)
        try:
            if stat.S_ISSOCK(path.stat().st_mode):
                with socket.socket(socket.AF_UNIX) as other:
                    if other.connect_ex(str(path)) != 0:
                        path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UsageError(
                f"cannot listen: {error.strerror}", where=str(path), hint="choose another --uds"
            ) from error
        return self._taken(sock, str(path), "choose another --uds")

    def _taken(self, sock: socket.socket, address: Any, hint: str) -> socket.socket:
        try:
            sock.bind(address)
        except OSError as error:
            sock.close()
            where = str(self.uds) if self.uds is not None else f"{self.host}:{self.port}"
            raise UsageError(f"cannot listen: {error.strerror or error}", where=where, hint=hint) from error
        sock.set_inheritable(True)
        return sock

    def clear(self) -> None:
        """Called at the end: take the Unix socket away."""
        if self.uds is not None:
            self.uds.unlink(missing_ok=True)
