"""Long sessions through the wrapper."""
