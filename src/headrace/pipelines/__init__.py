"""The steps of a run. Each is pure over storage: the same pins give the same result, and repeating one changes nothing.

They never import one another; they meet in the store and the registry.
"""
