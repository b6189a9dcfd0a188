"""Tests of the benchmarks, which mirror them."""
