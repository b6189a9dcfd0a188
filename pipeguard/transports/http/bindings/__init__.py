"""The transports of MCP over a network, one module each, found by their file names.

Each module's `BINDING` says how a channel to a server is opened and what answers clients
(`server.binding`). Nothing else knows their names. Begin with `sse`, which has both sides.
"""
