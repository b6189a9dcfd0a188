"""Cost of starting a guarded server: until the first answers, in CPU and in memory."""
