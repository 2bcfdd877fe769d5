"""FastAPI with pandas and a commit per request: what a first version in production looks like.

It checks the rows, predicts with the pipeline of `passengers_model`, and answers key, class and probability once the
rows are in the database.
"""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

import joblib
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Passenger(BaseModel):
    """One row."""

    PassengerId: int
    Pclass: int
    Name: str
    Sex: str
    Age: float | None = None
    SibSp: int
    Parch: int
    Ticket: str
    Fare: float | None = None
    Cabin: str | None = None
    Embarked: str | None = None


app = FastAPI()
port, path, database = int(sys.argv[1]), sys.argv[2], sys.argv[3]
model = joblib.load(path)
connection = sqlite3.connect(database, check_same_thread=False)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("PRAGMA synchronous=FULL")
connection.execute("CREATE TABLE predictions (key INTEGER PRIMARY KEY, row TEXT, probability REAL)")


@app.post("/predict")
async def predict(rows: list[Passenger]) -> list[dict[str, Any]]:
    """Predict and log rows."""
    found = model.predict_proba(pd.DataFrame([row.model_dump() for row in rows]))[:, 1].tolist()
    values = [(row.PassengerId, row.model_dump_json(), p) for row, p in zip(rows, found, strict=True)]
    connection.executemany("INSERT OR IGNORE INTO predictions VALUES (?, ?, ?)", values)
    connection.commit()
    return [{"key": key, "Survived": int(p >= 0.5), "probability": p} for key, _, p in values]


uvicorn.run(app, port=port, log_level="warning", access_log=False)
