"""FastAPI with pandas and a commit per request: what a first version in production looks like."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any

import pandas as pd
import uvicorn
from fastapi import FastAPI
from passengers_model import features, fit
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
model = fit(path)
connection = sqlite3.connect(database, check_same_thread=False)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("PRAGMA synchronous=FULL")
connection.execute("CREATE TABLE predictions (key INTEGER PRIMARY KEY, row TEXT, probability REAL)")


@app.post("/predict")
async def predict(row: Passenger) -> dict[str, Any]:
    """Predict and log one row."""
    found = float(model.predict_proba(features(pd.DataFrame([row.model_dump()])))[0, 1])
    values = (row.PassengerId, row.model_dump_json(), found)
    connection.execute("INSERT OR IGNORE INTO predictions VALUES (?, ?, ?)", values)
    connection.commit()
    return {"key": row.PassengerId, "Survived": int(found >= 0.5), "probability": found}


uvicorn.run(app, port=port, log_level="warning", access_log=False)
