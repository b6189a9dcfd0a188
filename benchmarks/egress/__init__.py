"""Cost of a sandbox's way out: connections a second, one stream, memory of idle tunnels."""
