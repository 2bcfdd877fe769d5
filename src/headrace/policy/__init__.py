"""When a model is to be trained again: rules that are declared, pure, and found by their kind."""

from headrace.policy.base import (
    RETRAINING,
    RecentRows,
    RetrainRule,
    ServedError,
    StandingFacts,
    Warned,
)
from headrace.policy.retraining import CostAware, Cusum, ErrorAbove
from headrace.policy.rules import ContractWarning, NewValues

__all__ = [
    "RETRAINING",
    "ContractWarning",
    "CostAware",
    "Cusum",
    "ErrorAbove",
    "NewValues",
    "RecentRows",
    "RetrainRule",
    "ServedError",
    "StandingFacts",
    "Warned",
]
