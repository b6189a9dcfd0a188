"""MCP over HTTP: `client` is how we reach a server, `server` is how clients reach us.

Streamable HTTP, HTTP+SSE (2024-11-05) and WebSocket. `client` imports nothing from `server`.
"""
