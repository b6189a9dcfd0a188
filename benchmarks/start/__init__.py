"""What starting a guarded server costs: until the first answers, in CPU and in memory."""
