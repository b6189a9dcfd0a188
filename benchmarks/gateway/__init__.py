"""Cost of `pipeguard serve`: calls through it against calls of a server itself."""
