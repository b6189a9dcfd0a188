"""A server in a sandbox that has what it was given, and no more. `egress` is its way out."""
