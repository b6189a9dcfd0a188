"""One wire a module, each a Channel that decides nothing, and the pump that joins two of them."""
