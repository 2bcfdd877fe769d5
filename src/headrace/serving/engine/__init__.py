"""What answers events from the past of their series, which it keeps in memory: shared by the doors that take events."""
