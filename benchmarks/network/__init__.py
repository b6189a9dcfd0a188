"""Cost of a sentence in the neural network, in C and in numpy."""
