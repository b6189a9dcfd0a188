"""Makes the weights of the classifiers; not part of what is installed."""
