"""Plays recorded sessions again: under another policy, as a server, or to learn a policy."""
