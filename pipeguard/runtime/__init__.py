"""`pipeguard wrap` as it runs: one module for each pair of transports, and what they share.

Joins a client's side, a Session and a server's side, and ends all of them. Refuses to judge and to
know the command line's words. Begin with `start`, which chooses, then `stdio` or `http`.
"""
