"""Channels to servers at an address: Streamable HTTP, HTTP+SSE and WebSocket.

Knows requests, streams, reconnection and which headers go to the server. Refuses to know who our
own client is. Begin with `upstream.Remote`, then `streamable`.
"""
