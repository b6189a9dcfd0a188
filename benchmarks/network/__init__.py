"""What a sentence costs the neural network, in C and in numpy."""
