"""JSON-RPC and MCP as values: frames, messages, batches, methods, and places of texts.

Knows the wire format of all five revisions. Knows no rules and no policy, and never refuses a
message for the meaning of a text, only for breaking the protocol. Begin with `message.parse`, which
reads one frame strictly, and `places`, the table of the places of texts.
"""
