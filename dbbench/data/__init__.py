"""Data sets: cards (what and whence), preparation with checked hashes, batches."""
