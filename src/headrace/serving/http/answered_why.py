"""Predictions that are posted for and explained at once: ``POST /v1/systems/{s}/predict?explain=true``.

Why is found first, so that what cannot be explained is refused and nothing of it is stored. Should the key stand for a
prediction that was made before, by another version or of other stored features, that one is explained from its pins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool

from headrace.home import Home
from headrace.pipelines.explained import explain_prediction
from headrace.serving.http.asking import Why
from headrace.serving.http.body import Receive
from headrace.serving.http.call import Answer
from headrace.serving.http.champion import Champion
from headrace.serving.http.explaining import MAX_BODY, explained, refuse_many, told
from headrace.serving.http.problem import Problem
from headrace.serving.http.served import ServedSystem
from headrace.serving.http.turns import Turns
from headrace.tasks.explanation import Explanation

Row = dict[str, Any]


class AnsweredWhy:
    """Explains what a request is answered, in the bounds of the routes that explain.

    Args:
        most: Bytes of a body of any request.
    """

    def __init__(self, most: int) -> None:
        self.limit = min(most, MAX_BODY)
        self.turns = Turns()

    def refuse(self, served: ServedSystem) -> None:
        """Refuse, before its body is read, what would not be explained.

        Raises:
            Problem: 422: a prediction follows from a series, not from what is posted; 503: too many wait.
        """
        if served.task.stateful or served.task.has_series:
            text = (
                f"{served.system.name} {served.task.action}; post its keys to /v1/systems/{served.system.name}/explain"
            )
            raise Problem(422, text, errors=[{"loc": ["query", "explain"], "msg": "is for rows"}])
        self.turns.refuse_full()

    async def of_rows(
        self, receive: Receive, served: ServedSystem, champion: Champion, rows: list[Row], keys: list[str], why: Why
    ) -> list[Explanation]:
        """Why each row gets its prediction, in order.

        Args:
            receive: Of the request, whose body has come.
            served: The system.
            champion: What answers them.
            rows: Decoded, with what is looked up.
            keys: Theirs: a canary answers some.
            why: The class and how much of each.

        Raises:
            Problem: As of the routes that explain.
        """
        refuse_many(len(rows))
        items = await self.turns.run(receive, told, _of_rows, served, champion, rows, keys, why)
        return [item.top(why.top) for item in items]

    async def joined(
        self, home: Home, answer: Answer, items: Sequence[Explanation], receive: Receive, why: Why
    ) -> Answer:
        """An answer with the explanation of each prediction in it.

        Raises:
            Problem: A prediction was made before, and cannot be explained any more.
        """
        document = msgspec.json.decode(answer.body)
        predictions = document.get("predictions", [document])
        for prediction, item in zip(predictions, items, strict=True):
            found = item
            if not _is_of(item, prediction, document):
                again = (home, prediction["id"])
                stored = await self.turns.run(receive, told, explain_prediction, *again, label=why.label)
                found = stored.top(why.top)
            prediction["explanation"] = found.as_dict() | {"id": prediction["id"], "keys": item.keys}
        return Answer(await run_in_threadpool(msgspec.json.encode, document), more=answer.more)


def _of_rows(served: ServedSystem, champion: Champion, rows: list[Row], keys: list[str], why: Why) -> list[Explanation]:
    parts = champion.parts(keys)
    if parts is None:
        return explained(served, champion, rows, why.label)
    items: dict[int, Explanation] = {}
    for part, places in parts:
        found = explained(served, part, [rows[place] for place in places], why.label)
        items |= zip(places, found, strict=True)
    return [items[place] for place in range(len(rows))]


def _is_of(item: Explanation, prediction: Row, document: Row) -> bool:
    """Whether a prediction is the one that was explained."""
    version = prediction.get("model_version", document.get("model_version"))
    said = msgspec.json.decode(msgspec.json.encode(item.answer))
    return version == item.model_version and all(prediction.get(name) == value for name, value in said.items())
