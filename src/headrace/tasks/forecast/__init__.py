"""Forecasts of series: training, inference, scores."""
