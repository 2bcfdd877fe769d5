"""How good predictions of classes are while no truth has come, from how sure they are.

Pure: arrays in, numbers out. Which predictions, and where what was held out is kept, is for `headrace.tasks.rows` to
say.
"""
