"""The online side of the feature store: what is known of a key now, for one request, in microseconds.

The table of a `FeatureGroup` is the truth. The online side follows it: it holds, of every key, the newest event times
and everything that is not known yet, so that any reader from now on gets what the point-in-time join over the table
would give. It may be lost, or fall behind, at any moment: the next write brings it up, and one command makes it anew.

    store = Store("data", online=Online("sqlite:///online.db"))
    group = FeatureGroup(store, "shop", "customers", keys=["customer"], time="time",
                         columns={"spend": pl.Float64()}, online=1)
    group.write(frame)                                   # the table, then the online side
    found = store.online.get(group, "c1", as_of=now)        # {"spend": 12.5}, or None
    found.known_at                                       # since when
"""

from headrace.store.online.online import LookupResult, Online
from headrace.store.online.records import KeyedValues

__all__ = ["KeyedValues", "LookupResult", "Online"]
