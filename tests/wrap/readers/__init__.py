"""Readers of lines as servers and clients have them: each prints what it saw, one JSON a line."""
