"""JSON-RPC and MCP as values: frames, messages, batches, methods, and where texts are in them.

Knows the wire format of all five revisions. Knows no rules and no policy, and never refuses a
message for what a text means, only for breaking the protocol. Begin with `message.parse`, which
reads one frame strictly, and `places`, the table of where texts are.
"""
