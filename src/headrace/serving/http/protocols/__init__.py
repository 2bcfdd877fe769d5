"""Other protocols and media types over the hot route: each file translates one, and predicts nothing itself."""
