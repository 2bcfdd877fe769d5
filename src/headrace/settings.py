"""Settings of one installation: the only reader of the environment (``HEADRACE_*``, or a ``.env`` file)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from headrace.errors import ConfigError


class Settings(BaseSettings):
    """Where things are and how much of the machine to use.

    Attributes:
        home: Folder of all state of the embedded mode.
        store_uri: Where the tables are; a folder or an object store's URI. Default: ``<home>/store``.
        tracking_uri: MLflow's tracking server. Default: SQLite in `home`.
        ledger_uri: The database of logged predictions, runs and alerts. Default: ``sqlite:///<home>/ledger.db``.
        ledger_timeout: Longest wait for that database in seconds: for a connection, a lock or an answer.
        online_uri: The database of the feature store's online side. Default: ``sqlite:///<home>/online.db``.
        online_timeout: Longest wait for that database in seconds.
        storage_options: Options of the object store as JSON, such as ``{"AWS_REGION": "eu-north-1"}``.
        tokens: Bearer tokens of the HTTP door to what they may do, as JSON:
            ``{"TOKEN": ["titanic:predict", "*:read"]}``. None at all means an open server.
        threads: Threads for predicting. Training has its own setting, because it shapes the model.
        kafka: More of librdkafka's settings as JSON, such as ``{"security.protocol": "SASL_SSL"}``.
        replica: Name of this replica of a stream, the same after a restart, such as a StatefulSet's pod name. Default:
            the machine's name and the lowest number that no other process of this home has.
    """

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", env_file=".env", extra="ignore")

    home: Path = Path(".headrace")
    store_uri: str | None = None
    tracking_uri: SecretStr | None = None
    ledger_uri: SecretStr | None = None
    ledger_timeout: float = Field(default=5.0, gt=0)
    online_uri: SecretStr | None = None
    online_timeout: float = Field(default=2.0, gt=0)
    storage_options: dict[str, SecretStr] = Field(default_factory=dict)
    tokens: dict[SecretStr, tuple[str, ...]] = Field(default_factory=dict)
    threads: int = Field(default=0, ge=0)
    kafka: dict[str, SecretStr] = Field(default_factory=dict)
    replica: str | None = None


def load_settings(home: Path | None = None) -> Settings:
    """The settings of the environment, with `home` over them.

    Raises:
        ConfigError: A variable has a value that does not fit; names it.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "HEADRACE_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(str(first["msg"]), where=name) from error
    return settings.model_copy(update={"home": home}) if home is not None else settings
