"""What a sandbox's way out costs: connections a second, one stream, memory of idle tunnels."""
