"""`pipeguard wrap` as it runs: one module for each pair of transports, and their common parts.

Joins a client's side, a Session and a server's side, and ends all of them. Refuses to judge. Begin
with `start`, which chooses, then `stdio` or `http`; `transports` is the table of transports.
"""
