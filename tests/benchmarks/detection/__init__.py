"""The benchmark of detection measures what it says it measures."""
