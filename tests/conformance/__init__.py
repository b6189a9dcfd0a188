"""The official conformance suite, run directly and through PipeGuard, check by check."""
