"""Readings of a text (decoded, squeezed, joined), and the way back to the bytes that came.

Knows encodings, disguises, and what decoding may cost. Refuses to know rules: a reading is what a
text could also say, never that it is bad. Begin with `document.MessageText`, the buffer of all
strings of a message, and `layouts`, which says how they are laid out; then `decoders`, the table
of encodings, and `split_values`, for what is split over several strings.
"""
