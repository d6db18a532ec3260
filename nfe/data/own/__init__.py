"""Data sets of one's own: from image files or arrays to a card and prepared arrays."""
