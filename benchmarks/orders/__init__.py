"""Orders: whether planted acts are held, and honest work goes on."""
