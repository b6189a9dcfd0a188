"""The demonstration: a real server, a client that plays five scenes with it, and the results."""
