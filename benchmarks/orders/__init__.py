"""Orders: planted acts that are held, and honest work that is not."""
