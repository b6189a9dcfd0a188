"""Checks of a rule's matches: checksum, entropy, placeholder, address.

Pure functions of a few bytes, each in the table `CHECKS` of its module. Refuses to know rules and
messages. Begin with `registry`, which finds a check by the name that a rule gives.
"""
