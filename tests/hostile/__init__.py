"""Attacks of a hostile client or server with bytes over HTTP, row by row."""
