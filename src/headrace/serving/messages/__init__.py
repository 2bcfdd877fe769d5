"""Answers as messages on a topic: how they are written, and read again by those who pass them on or archive them."""
