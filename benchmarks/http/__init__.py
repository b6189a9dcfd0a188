"""Cost of a hop in an HTTP session: time for each call, calls a second, memory, streams.

A direct connection, PipeGuard and any other proxy take turns in one run.
"""
