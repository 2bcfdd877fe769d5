"""Steps and calendars: from times to whole numbers and back."""

from headrace.grid.cadence import Cadence
from headrace.grid.grid import Grid, spanned, steps_of
from headrace.grid.later import later

__all__ = ["Cadence", "Grid", "later", "spanned", "steps_of"]
