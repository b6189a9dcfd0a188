"""Readings of a text (decoded, squeezed, joined), and the way back to the bytes that came.

Knows encodings and disguises, and what decoding may cost. Refuses to know rules: a reading says
what a text could also be read as, never that it is bad. Begin with `document.MessageText`, all
texts of a message as one buffer, then `decoders`, the table of encodings.
"""
