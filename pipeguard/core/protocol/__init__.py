"""JSON-RPC and MCP as values: frames, messages, batches, methods, and where texts are in them.

Knows the wire format of all five revisions. Refuses to know rules, policy and what a text means:
nothing here is allowed or blocked for what it says, only for breaking the protocol. Begin with
`message.parse`, which reads one frame strictly, and `places`, the table of where texts stand.
"""
