"""What decides. Nothing in here reads, writes, waits, or asks the time."""
