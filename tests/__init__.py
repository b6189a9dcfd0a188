"""PipeGuard's tests; each folder mirrors the one of the same name in the package."""
