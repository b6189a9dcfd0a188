"""Cost of a wrapper in a session: time for each frame, start-up, memory.

A direct connection, PipeGuard and any other wrapper take turns in one run.
"""
