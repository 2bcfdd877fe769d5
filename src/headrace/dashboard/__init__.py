"""Pages for people, rendered on the server from what the HTTP API answers; they know nothing else."""
