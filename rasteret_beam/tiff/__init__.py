"""What TIFF bytes mean: a header's tags, and the pixels of one tile."""
