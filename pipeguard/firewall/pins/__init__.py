"""Definitions over time: their fingerprints, the trusted versions, and the changes.

Knows which parts a server may change without asking. Knows no messages: `session` decides if a
changed tool may be called. Begin with `fingerprint.fingerprint`, then `drift`.
"""
