"""The gRPC service: each call is asked of the REST form's code, so contract, keys, ledger and tokens are the same."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any
from urllib.parse import unquote

import msgspec

from headrace.errors import UsageError
from headrace.serving.http.access import READ, Access
from headrace.serving.http.grpc.address import At
from headrace.serving.http.grpc.messages import SERVICE, classes
from headrace.serving.http.grpc.translating import answered, posted
from headrace.serving.http.guessing import WrongTokens
from headrace.serving.http.options import Options
from headrace.serving.http.predict import PredictRoute
from headrace.serving.http.problem import Problem
from headrace.serving.http.protocols import inference
from headrace.serving.http.served import ServedSystem
from headrace.serving.http.throttle import Throttle

GRACE = 10.0
"""Seconds that calls under way have to be answered at the end."""
_LARGEST = 64 * 2**20
"""Bytes of an answer at most."""
_HEAD = 2**14
"""Bytes of metadata at most."""
_METADATA = ("authorization", "idempotency-key", "x-request-id", "traceparent", "tracestate")
_LENGTH = b"inference-header-content-length"
_STATUS = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ALREADY_EXISTS"}
_STATUS |= {408: "DEADLINE_EXCEEDED", 413: "RESOURCE_EXHAUSTED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}


class _Inferred(inference.Inference):
    route = f"/{SERVICE}/ModelInfer"


class GrpcDoor:
    """The service of one process.

    Args:
        served: Systems by name.
        access: Who may read.
        wrong: Counts wrong tokens.
        predict: The hot route.
        throttle: What a token may ask.
        options: Limits.
    """

    def __init__(
        self,
        served: Mapping[str, ServedSystem],
        access: Access,
        wrong: WrongTokens,
        predict: PredictRoute,
        throttle: Throttle,
        options: Options,
    ) -> None:
        self._served, self._access, self._predict, self._options = served, access, predict, options
        self._throttle, self._wrong = throttle, wrong
        self._of = classes()
        self._server: Any = None

    async def open(self, at: At) -> None:
        """Listen.

        Raises:
            UsageError: The address is taken.
        """
        import grpc

        bounds = [
            ("grpc.max_receive_message_length", self._options.max_body),
            ("grpc.max_send_message_length", _LARGEST),
            ("grpc.max_metadata_size", _HEAD),
            ("grpc.so_reuseport", int(at.several)),
        ]
        self._server = grpc.aio.server(options=bounds, maximum_concurrent_rpcs=self._options.max_connections)
        handlers = {name: self._handler(grpc, name, handle) for name, handle in self._handles().items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        host = f"[{at.host}]" if ":" in at.host else at.host
        address = f"{host}:{at.port}"
        try:
            if at.tls is None:
                self._server.add_insecure_port(address)
            else:
                key, cert, authorities = at.tls
                credentials = grpc.ssl_server_credentials([(key, cert)], authorities, authorities is not None)
                self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise UsageError("cannot listen for gRPC", where=address, hint="choose another --grpc-port") from error
        await self._server.start()

    async def close(self) -> None:
        """Take no more calls, and answer those under way."""
        if self._server is not None:
            await self._server.stop(GRACE)

    def _handles(self) -> dict[str, Callable[[Any, Any], Any]]:
        return {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
        }

    def _handler(self, grpc: Any, name: str, handle: Callable[[Any, Any], Any]) -> Any:
        async def told(request: Any, context: Any) -> Any:
            try:
                return await handle(request, context)
            except Problem as problem:
                code = getattr(grpc.StatusCode, _STATUS.get(problem.status, "INVALID_ARGUMENT"))
                return await context.abort(code, problem.detail[:1000])

        return grpc.unary_unary_rpc_method_handler(
            told,
            request_deserializer=self._of[f"{name}Request"].FromString,
            response_serializer=self._of[f"{name}Response"].SerializeToString,
        )

    async def _live(self, request: Any, context: Any) -> Any:
        return self._of["ServerLiveResponse"](live=True)

    async def _ready(self, request: Any, context: Any) -> Any:
        return self._of["ServerReadyResponse"](ready=all(served.reason is None for served in self._served.values()))

    async def _model_ready(self, request: Any, context: Any) -> Any:
        return self._of["ModelReadyResponse"](ready=self._find(request, context).reason is None)

    async def _server_metadata(self, request: Any, context: Any) -> Any:
        return self._of["ServerMetadataResponse"](**inference.about_server() | {"extensions": []})

    async def _model_metadata(self, request: Any, context: Any) -> Any:
        data = inference.metadata(self._find(request, context))
        tensors = {
            side: [
                self._of["Described"](**{n: tensor[n] for n in ("name", "datatype", "shape")}) for tensor in data[side]
            ]
            for side in ("inputs", "outputs")
        }
        return self._of["ModelMetadataResponse"](**{**data, **tensors})

    async def _infer(self, request: Any, context: Any) -> Any:
        body, length = posted(request)
        if len(body) > self._options.max_body:
            raise Problem(413, f"the message is larger than {self._options.max_body:,} bytes")
        headers = [
            *((name.encode(), value) for name, value in _metadata(context).items()),
            (b"content-type", b"application/octet-stream"),
            (_LENGTH, str(length).encode()),
        ]
        scope = {
            "method": "POST",
            "path": _Inferred.route,
            "query_string": b"",
            "client": _client(context.peer()),
            "headers": headers,
        }
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        form = _Inferred(request.model_version or None)
        allowed = self._throttle.request(form.route, dict(headers)) if self._throttle else nullcontext()
        with allowed:
            await self._predict(request.model_name, scope, receive, send, form)
        start, rest = messages
        if start["status"] != 200:
            raise Problem(start["status"], msgspec.json.decode(rest["body"])["detail"])
        length = int(dict(start["headers"])[_LENGTH])
        return answered(self._of["ModelInferResponse"](), rest["body"], length)

    def _find(self, request: Any, context: Any) -> ServedSystem:
        authorization = _metadata(context).get("authorization", b"")
        try:
            self._access.check(authorization, request.name, READ)
        except Problem as problem:
            raise self._wrong.judged(problem, authorization, _client(context.peer())) from problem
        served = self._served.get(request.name)
        if served is None:
            raise Problem(404, f"no system {request.name[:80]!r} is served here")
        inference.refuse_version(served, request.version or None)
        return served


def _metadata(context: Any) -> dict[str, bytes]:
    metadata = ((key, value) for key, value in context.invocation_metadata() if key in _METADATA)
    return {key: value if isinstance(value, bytes) else value.encode("latin-1", "replace") for key, value in metadata}


def _client(peer: str) -> tuple[str, int] | None:
    """Address and port of ``ipv4:127.0.0.1:5000`` or ``ipv6:%5B::1%5D:5000``."""
    kind, _, rest = unquote(peer).partition(":")
    host, _, port = rest.rpartition(":")
    try:
        return (str(ipaddress.ip_address(host.strip("[]"))), int(port)) if kind in ("ipv4", "ipv6") else None
    except ValueError:
        return None
