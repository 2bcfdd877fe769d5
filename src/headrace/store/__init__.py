"""Where data is kept: versioned, time-travelling tables of facts, and the feature store over them.

Three times go with every row, and each answers another question.

*Event time* is when something happened: the hour measured, the day of a sale. It is a column of yours.

*Known time* (``known_at``) is when the row became known here. A later correction is a new fact about the
same event with a later known time; nothing is ever overwritten. Reading ``as_of=T`` gives exactly what was
known at T, so a backfill sees what a live run saw.

*Logical version* (``_version``) counts the commits that added something. Reading ``version=n`` gives what the
table held after the n-th, however long ago. The version travels in the rows, not in the table's log: a Delta
version can be read only while its log entry and its files are kept, whereas here compaction, vacuum and log
retention may drop both at any time and every pinned version reads the same. The two are independent:
``as_of`` asks what the world knew, ``version`` what this store had been told.

    store = Store("data")                       # or "s3://bucket/prefix", with the same code
    table = store.table("energy", "raw")
    table.append(rows, identity=["area", "time"], compare=["kwh"], window="time")
    table.read(identity=["area", "time"], as_of=noon, version=12)

    group = FeatureGroup(store, "energy", "lags", keys=["area"], time="time",
                         columns={"lag_1h": pl.Float64()})
    group.write(frame)
    frame, pins = FeatureView("default", [(group, ["lag_1h"])], ttl=timedelta(days=2)).training_set(spine)

With ``online=1`` the group's newest values are also found by key, in microseconds: ``view.get("DK1", as_of=now)``.

What a failure does: a write is there whole or not at all, killed at any moment; writing again is always
safe and adds only what is missing. Writers that race look again and retry; none loses rows. Reads see one
snapshot. Failures are `headrace.errors.StoreError` (no space, no access, a column of the wrong type) and its
children `CorruptTableError` (names the file), `StoreTooNewError` and `WriteConflictError`; a name, version
or column that does not exist is a `UsageError`.
"""

from headrace.store.delta import Table
from headrace.store.feature_group import FeatureGroup
from headrace.store.feature_view import FeatureView, Observed, TrainingSet
from headrace.store.store import Store
from headrace.store.upkeep import Upkeep
from headrace.store.written import Written

__all__ = ["FeatureGroup", "FeatureView", "Observed", "Store", "Table", "TrainingSet", "Upkeep", "Written"]
