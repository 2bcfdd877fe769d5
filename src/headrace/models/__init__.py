"""Models: settings that are declared, and what is fitted from them."""

from headrace.models.base import Model
from headrace.models.forecaster import Forecaster

__all__ = ["Forecaster", "Model"]
