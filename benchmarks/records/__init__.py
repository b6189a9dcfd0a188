"""Records: whether a secret can be read from them, whether they replay, and what they cost."""
