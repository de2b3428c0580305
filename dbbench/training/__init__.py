"""Training: one loop for every architecture and method."""
