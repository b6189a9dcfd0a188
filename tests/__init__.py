"""PipeGuard's tests; each folder mirrors the package's folder of the same name."""
