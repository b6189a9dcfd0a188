"""Servers at an address, as Channels: Streamable HTTP, HTTP+SSE and WebSocket.

Knows requests, streams, reconnection and which headers go up. Refuses to know who our own client
is, and what a frame says. Begin with `upstream.Remote`, then `streamable`.
"""
