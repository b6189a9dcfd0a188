"""What `pipeguard serve` costs: calls through it against calls of a server itself."""
