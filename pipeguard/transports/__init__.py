"""Channels, one module for each way to carry frames, and the pump that joins two of them.

A Channel reads whole frames, writes whole frames and ends; it decides nothing. `http` holds the
transports over HTTP, in both directions. Begin with `channel.Channel`, then `pump.pump`.
"""
