"""The stream door: events on a Kafka topic in, predictions on another out, exactly once."""
