"""The door of feature groups: events on a topic, or of a batch, become rows of a group."""
