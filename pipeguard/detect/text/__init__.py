"""Readings of a text (decoded, squeezed, joined), and the way back to the bytes that came.

Knows encodings, disguises, and the cost of decoding. Refuses to know rules: a reading is another
possible meaning of a text, never a judgement. Begin with `document.MessageText`, the buffer of all
strings of a message, and `layouts`, which defines their order; then `decoders`, the table
of encodings, and `split_literals`, for text that a program joins from several literals.
"""
