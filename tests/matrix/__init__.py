"""Each official SDK's client on each transport, against a server on each transport."""
