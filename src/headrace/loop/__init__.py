"""The loop: facts read from the store, rules evaluated on them, readings kept, and alerts that follow."""
