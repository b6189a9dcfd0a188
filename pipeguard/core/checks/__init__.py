"""Questions that a rule may ask of what it matched: checksum, entropy, placeholder, address.

Pure functions of a few bytes, each named in one table. Refuses to know rules and messages.
Begin with `registry`, where a pack's `checks:` are looked up.
"""
