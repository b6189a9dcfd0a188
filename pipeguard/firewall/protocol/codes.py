"""JSON-RPC error codes: the standard's, and PipeGuard's own.

JSON-RPC 2.0, section 5.1, defines the standard's. Ours are outside the range that JSON-RPC and MCP
reserve (-32768 to -32000), so that they are never taken for a server's.
"""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INTERNAL_ERROR = -32603

USER_REJECTED = -1  # MCP client/sampling: "User rejected sampling request"

BLOCKED = -37101  # a rule blocked the message
APPROVAL = -37102  # a person has not approved the definition
UNSCANNABLE = -37103  # over a limit: not judged, so not forwarded
PEER_GONE = -37104  # the server exited or hung up
PEER_SILENT = -37105  # a configured timeout expired
OVERLOADED = -37106  # too many requests are pending
PEER_BROKE_PROTOCOL = -37107  # an answer that cannot be forwarded
INTERNAL = -37108  # PipeGuard itself failed, and failed closed

OURS = range(INTERNAL, BLOCKED + 1)  # a peer that sends one of these forges it
