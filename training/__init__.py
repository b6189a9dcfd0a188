"""What makes the weights of classifiers; no part of what is installed."""
