"""Letters: which look alike, which nobody sees, and how to show any text safely to a person.

Knows Unicode's tables (UAX 9, 15 and 31, UTS 39) and nothing of messages, encodings or rules.
Begin with `folding.fold`, the one form of all letters that look alike.
"""
