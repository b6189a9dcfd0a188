"""What reads meaning: a word prefilter, a linear classifier, and a small neural network behind it.

Knows the files in `rules/*.model` and `rules/*.network`, and how sure they are of a sentence.
Refuses to know messages and policy. Begin with `cascade`, which asks one after the other.
"""
