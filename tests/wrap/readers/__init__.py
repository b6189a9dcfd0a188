"""Readers of lines, as servers and clients have them: each prints its input, one JSON a line."""
