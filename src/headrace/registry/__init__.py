"""Versions of models: which there are, which was the champion at which time, and their files."""

from headrace.registry.history import ModelVersion, Trained
from headrace.registry.records import Timeline
from headrace.registry.registry import Registry

__all__ = ["ModelVersion", "Registry", "Timeline", "Trained"]
