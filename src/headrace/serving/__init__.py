"""The doors that stay open: HTTP requests and Kafka streams."""
