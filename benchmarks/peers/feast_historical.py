"""A few rows of the training set by Feast's get_historical_features from a Parquet file: a folder, a TTL in hours."""

import shutil
import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64, String
from feast.value_type import ValueType

folder, ttl = Path(sys.argv[1]), int(sys.argv[2])
repo = folder / "feast"
shutil.rmtree(repo, ignore_errors=True)
repo.mkdir()
config = RepoConfig(
    project="bench",
    provider="local",
    registry=str(repo / "registry.db"),
    online_store={"type": "sqlite", "path": str(repo / "online.db")},
    offline_store={"type": "file"},
    entity_key_serialization_version=3,
)
store = FeatureStore(config=config)
key = Entity(name="key", join_keys=["key"], value_type=ValueType.STRING)
source = FileSource(path=str(folder / "facts.parquet"), timestamp_field="time", created_timestamp_column="known_at")
schema = [Field(name="key", dtype=String), *(Field(name=f"x{i}", dtype=Float64) for i in range(10))]
view = FeatureView(name="view", entities=[key], ttl=timedelta(hours=ttl), schema=schema, source=source)
store.apply([key, view])
spine = pd.read_parquet(folder / "few.parquet").rename(columns={"time": "event_timestamp"})
found = store.get_historical_features(entity_df=spine, features=[f"view:x{i}" for i in range(10)]).to_df()
found.to_parquet(folder / "feast.parquet")
