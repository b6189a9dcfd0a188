"""Letters: look-alikes, invisible characters, and the safe display of any text to a person.

Knows Unicode's tables (UAX 9, 15 and 31, UTS 39) and nothing of messages, encodings or rules.
Begin with `folding.fold`, which gives letters that look alike one form.
"""
