"""The transports of MCP over a network, one module each, found by their file names.

Each module's `BINDING` opens a channel to a server and makes the endpoint for clients
(`server.binding`). Nothing else knows their names. Begin with `sse`, which has both sides.
"""
