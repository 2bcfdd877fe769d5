"""What is predicted of a row: one file per kind of output, each of which says everything about it."""
