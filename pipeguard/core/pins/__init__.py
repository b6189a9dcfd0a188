"""Definitions over time: their fingerprints, what is trusted of them, and what changed since.

Knows what a server may change without asking. Refuses to know messages in flight: whether a
changed tool may be called is for `session`. Begin with `fingerprint.fingerprint`, then `drift`.
"""
