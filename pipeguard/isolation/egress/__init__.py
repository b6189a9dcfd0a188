"""The only way out of a sandbox whose network namespace has no route.

Accepts on sockets that were made inside the namespace, and connects from outside to the hosts of an
allow list. Reads names, ports and heads; tunnelled bytes pass unchanged. Begin at `proxy.Egress`,
then `hosts.HostRules` and `judge`.
"""
