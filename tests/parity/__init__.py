"""Official SDK clients drive reference servers, directly and through the wrapper."""
