"""The declared search for better settings, and the studies that keep its trials. Only this room knows optuna."""

from headrace.tuning.declared import Choices, Parameter, Range, Tuning

__all__ = ["Choices", "Parameter", "Range", "Tuning"]
