"""Definitions over time: their fingerprints, which of them are trusted, and what changed since.

Knows what a server may change without asking. Knows no messages: whether a changed tool may be
called is for `session`. Begin with `fingerprint.fingerprint`, then `drift`.
"""
