"""Models: settings that are declared, and what is fitted from them."""

from headrace.models.base import Model
from headrace.models.boosting import Boosting
from headrace.models.classifier import Classifier
from headrace.models.estimator import Estimator
from headrace.models.forecaster import Forecaster
from headrace.models.linear import Linear

__all__ = ["Boosting", "Classifier", "Estimator", "Forecaster", "Linear", "Model"]
