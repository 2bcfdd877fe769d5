"""How far what comes now is from what a model learnt from: counts that add up by day, and statistics over them.

Pure: numbers in, numbers out. What is counted, and where counts are kept, is for `headrace.loop.drift` to say.
"""

NUMERIC, CATEGORICAL, TEXT = "numeric", "categorical", "text"
"""How the values of a variable are counted."""
