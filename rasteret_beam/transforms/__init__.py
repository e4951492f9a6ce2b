"""In what order: the Beam transforms over the pure core."""
