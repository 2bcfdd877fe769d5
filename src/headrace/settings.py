"""Settings of one installation: the only reader of the environment (``HEADRACE_*``, or a ``.env`` file)."""

from __future__ import annotations

import difflib
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

from headrace.declaration import Duration
from headrace.errors import ConfigError

PREFIX = "HEADRACE_"
OF_SERVE = (
    *("host", "port", "uds", "grpc_port", "workers", "root_path", "forwarded_allow_ips"),
    *("tls_cert", "tls_key", "tls_ca"),
    *("shadow", "canary", "cors", "public", "rate", "concurrent", "access_log"),
    *("max_body", "max_rows", "max_head", "max_headers", "max_url", "max_connections", "capacity"),
    *("head_timeout", "body_timeout", "idle_timeout", "answer_timeout", "refresh"),
    *("readers", "read_timeout"),
)
"""Variables that stand for options of ``headrace serve``, which checks them."""
_LINK = "tcp://"
"""So begins what Kubernetes puts into a variable such as ``HEADRACE_PORT``, where a service is called headrace."""
_NO_JSON = "no_json"
_JSON = {
    "tokens": 'write {"TOKEN": ["titanic:predict", "*:read"]}',
    "storage_options": 'write {"AWS_REGION": "eu-north-1"}',
    "schema_registry": 'write its URL, or {"url": "https://HOST", "basic.auth.user.info": "KEY:SECRET"}',
    "sinks": 'write {"warehouse": "postgresql://USER:PASSWORD@HOST/DATABASE/TABLE"}',
    "kafka": 'write {"security.protocol": "SASL_SSL"}',
}
_T = TypeVar("_T")


def _with_url(value: Any) -> Any:
    """A URL alone, which needs no JSON."""
    bare = isinstance(value, str) and not value.lstrip().startswith("{")
    return {"url": value.strip()} if bare else _parsed(value)


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise PydanticCustomError(_NO_JSON, "is not JSON") from None


_Json = Annotated[_T, BeforeValidator(_parsed)]
"""A value that a variable holds as JSON."""


class Grant(BaseModel):
    """What a token may do, and how often.

    Attributes:
        may: ``system:scope`` each, with ``*`` for any system; scopes are ``read``, ``predict``, ``decide`` (promote and
            reject models), ``write`` (change whatever can be changed), and ``*:metrics``.
        name: What it is called where it is written down who decided. Default: the beginning of its digest.
        rate: Requests a second, in each process.
        concurrent: Requests at a time, in each process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    may: tuple[str, ...]
    name: str | None = None
    rate: float | None = Field(default=None, gt=0)
    concurrent: int | None = Field(default=None, ge=1)


Tokens = dict[SecretStr, tuple[str, ...] | Grant]


class Settings(BaseModel):
    """Where things are and how much of the machine to use.

    Attributes:
        home: Folder of all state of the embedded mode.
        store_uri: Where the tables are; a folder or an object store's URI. Default: ``<home>/store``.
        tracking_uri: MLflow's tracking server. Default: SQLite in `home`.
        ledger_uri: The database of logged predictions. Default: ``sqlite:///<home>/ledger.db``.
        ledger_timeout: Longest wait for that database in seconds: for a connection, a lock or an answer.
        online_uri: The database of the feature store's online side. Default: ``sqlite:///<home>/online.db``.
        online_timeout: Longest wait for that database in seconds.
        storage_options: Options of the object store as JSON, such as ``{"AWS_REGION": "eu-north-1"}``.
        tokens: Bearer tokens of the HTTP door to what they may do, as JSON:
            ``{"TOKEN": ["titanic:predict", "*:read"]}``, or with limits
            ``{"TOKEN": {"may": ["*:read"], "rate": 50, "concurrent": 8}}``. None at all means an open server.
        threads: Threads for predicting. Training has its own setting, because it shapes the model.
        kafka: More of librdkafka's settings as JSON, such as ``{"security.protocol": "SASL_SSL"}``.
        schema_registry: The schema registry's URL; or as JSON what Confluent's client takes, such as
            ``{"url": "https://HOST", "basic.auth.user.info": "KEY:SECRET"}``.
        sinks: Targets of predictions by names of yours, as JSON: ``{"warehouse": "postgresql://..."}``, so that no
            password stands on a command line.
        sink_secret: What requests to webhooks are signed with.
        replica: Name of this replica of a stream, the same after a restart, such as a StatefulSet's pod name. Default:
            the machine's name, a mark of the home and the lowest number that no other process of this home has.
        executor: Where workers of backfills and streams run: ``local``, or the name that an installed package gives.
        hooks: What an exception in a hook does: ``warn`` logs and counts it, ``raise`` ends the command, for tests.
        tuning_uri: A database for the trials of searches, which several machines share: ``postgresql://...`` or
            ``sqlite:///...``. Default: journals in `home`.
        rehearsal: Nobody is told of what happens in this home: no hook is called, nothing is sent. So are simulations.
        url: Where `headrace.client` finds a server, such as ``https://models.example.com``.
        token: The token that `headrace.client` shows it.
        stream_patience: How long a stream waits for a cluster that does not answer before it gives up.
    """

    home: Path = Path(".headrace")
    store_uri: str | None = None
    tracking_uri: SecretStr | None = None
    ledger_uri: SecretStr | None = None
    ledger_timeout: float = Field(default=5.0, gt=0)
    online_uri: SecretStr | None = None
    online_timeout: float = Field(default=2.0, gt=0)
    storage_options: _Json[dict[str, SecretStr]] = Field(default_factory=dict)
    tokens: _Json[Tokens] = Field(default_factory=dict)
    threads: int = Field(default=0, ge=0)
    kafka: _Json[dict[str, SecretStr]] = Field(default_factory=dict)
    schema_registry: Annotated[dict[str, SecretStr], BeforeValidator(_with_url)] = Field(default_factory=dict)
    sinks: _Json[dict[str, SecretStr]] = Field(default_factory=dict)
    sink_secret: SecretStr | None = None
    replica: str | None = None
    executor: str = "local"
    hooks: Literal["warn", "raise"] = "warn"
    tuning_uri: SecretStr | None = None
    rehearsal: bool = False
    url: str | None = None
    token: SecretStr | None = None
    stream_patience: Duration = Field(default=timedelta(minutes=10), gt=timedelta())


def load_settings(home: Path | None = None) -> Settings:
    """The settings of the environment, with `home` over them.

    Raises:
        ConfigError: A variable has a value that does not fit, or `.env` is not text; names it.
    """
    # Not by pydantic-settings: its import costs more than a tenth of what an hourly refresh does in all.
    values = {name.lower().removeprefix(PREFIX.lower()): value for name, value in _variables().items()}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # No more of the path than the field: the next part can be a token.
        # The cause of what is no JSON quotes the value, which may be a secret.
        field, cause = str(first["loc"][0]), None if first["type"] == _NO_JSON else error
        hint = _JSON.get(field) if first["type"] == _NO_JSON else None
        raise ConfigError(str(first["msg"]), where=PREFIX + field.upper(), hint=hint) from cause
    return settings.model_copy(update={"home": home}) if home is not None else settings


def serve_variables() -> dict[str, str]:
    """What the variables of `OF_SERVE` hold, by name; those that are set.

    Raises:
        ConfigError: The file `.env` is not text.
    """
    variables = {name.lower().removeprefix(PREFIX.lower()): value for name, value in _variables().items()}
    return {name: variables[name] for name in OF_SERVE if not variables.get(name, _LINK).startswith(_LINK)}


def secret_of(name: str) -> SecretStr | None:
    """What a variable holds that a declaration names, such as the address of a channel; None where it is not set.

    Raises:
        ConfigError: The file `.env` is not text.
    """
    value = _every_variable().get(name)
    return SecretStr(value.strip()) if value is not None and value.strip() else None


def _variables() -> dict[str, str]:
    """Ours, in any case, of the file `.env` in the current folder and, over it, of the environment."""
    values = _every_variable()
    return {name: value for name, value in values.items() if name.upper().startswith(PREFIX) and value is not None}


def _every_variable() -> dict[str, str | None]:
    """Of the file `.env` in the current folder and, over it, of the environment."""
    values: dict[str, str | None] = {}
    if Path(".env").is_file():
        from dotenv import dotenv_values

        try:
            values |= dotenv_values(".env")
        except UnicodeDecodeError as error:
            raise ConfigError("is not text in UTF-8", where=".env") from error
    values |= os.environ
    return values


def strange_variables() -> dict[str, str | None]:
    """Variables of the environment that begin as ours and are none of them, each with the nearest name of ours."""
    known = [PREFIX + name.upper() for name in (*Settings.model_fields, *OF_SERVE)]
    strange = [name for name in sorted(os.environ) if name.startswith(PREFIX) and name not in known]
    return {
        name: next(iter(difflib.get_close_matches(name, known, n=1)), None)
        for name in strange
        if not name.startswith(f"{PREFIX}TEST_")
    }
