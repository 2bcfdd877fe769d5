"""headrace from Python: a home that is opened, and the systems in it. The command line calls what stands here."""
