"""Readers of meaning: an opener, a linear classifier, and a small neural network behind it.

Knows the files `rules/*.model` and `rules/*.network`, and how sure they are that a sentence is an
order to the model. Refuses to know messages and policy. Begin with `cascade`, which runs the three
stages one after the other.
"""
