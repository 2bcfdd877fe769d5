"""Scores of rows: training, inference, scores."""
