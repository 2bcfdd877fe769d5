"""Events of a system that forecasts, posted instead of streamed: the stream's state over the ledger's log."""
