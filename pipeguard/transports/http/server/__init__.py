"""The address that clients come to: who may come in, and how requests become frames.

Knows hosts, origins, tokens, sessions and streams, and bounds every byte that a client makes us
keep. Refuses to judge: a Session does. Begin with `listener`, then `admission`, then `relay` (for
HTTP servers) or `streamable` (for servers of any other transport).
"""
