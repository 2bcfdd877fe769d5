"""Passes predictions on to where others take them: from the answers of a stream, or from the tables."""
