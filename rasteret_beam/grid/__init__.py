"""Where things are: world to pixel, pixel to tile, rings around a pixel, CRSs."""
