"""What decides about a frame: the same frames at the same times always give the same verdicts.

Holds everything from bytes to verdict, one package a step; a package imports only from those above
it (tests/test_layers.py). Knows no file, clock, socket, thread or randomness. Begin with
`core.session.session`, whose `receive` judges one frame, and `core.finding`.
"""
