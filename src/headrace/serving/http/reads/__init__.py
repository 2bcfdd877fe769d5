"""Reads that take a while, in processes beside the server: what each asks, and the routes to it."""
