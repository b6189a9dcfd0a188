"""The one way out of a sandbox whose network namespace has no route.

Accepts on sockets that were made inside the namespace, and connects from outside to the hosts that
an allow list names. Reads names, ports and heads; what is tunnelled passes as it is. Begin at
`proxy.Egress`, then `hosts.HostRules` and `judge`.
"""
