"""The benchmark of detection measures the things that it reports."""
