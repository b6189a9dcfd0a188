"""What a hostile client or server can do with bytes over HTTP, row by row."""
