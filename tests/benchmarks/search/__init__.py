"""The benchmark of the search measures what it says it measures."""
