"""The benchmark of the search measures the things that it reports."""
