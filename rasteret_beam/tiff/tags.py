"""The TIFF and GeoTIFF numbers that this package reads, by their names in the specs."""

from __future__ import annotations

import enum


class Tag(enum.IntEnum):
    """TIFF 6.0, its technical notes, GeoTIFF 1.1 and GDAL's private tags."""

    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC_INTERPRETATION = 262
    FILL_ORDER = 266
    SAMPLES_PER_PIXEL = 277
    PLANAR_CONFIGURATION = 284
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    MODEL_PIXEL_SCALE = 33550
    MODEL_TIEPOINT = 33922
    MODEL_TRANSFORMATION = 34264
    GEO_KEY_DIRECTORY = 34735
    GEO_DOUBLE_PARAMS = 34736
    GEO_ASCII_PARAMS = 34737
    GDAL_METADATA = 42112
    GDAL_NODATA = 42113


class Compression(enum.IntEnum):
    """Values of tag 259 that tiles are read in."""

    NONE = 1
    LZW = 5
    JPEG = 7
    ADOBE_DEFLATE = 8
    PACKBITS = 32773
    DEFLATE = 32946
    JPEG_2000 = 34712
    LERC = 34887
    LZMA = 34925
    ZSTD = 50000
    WEBP = 50001
    JPEG_XL = 50002
    JPEG_XL_DNG = 52546


class Predictor(enum.IntEnum):
    """Values of tag 317."""

    NONE = 1
    HORIZONTAL = 2
    FLOATING_POINT = 3


class PlanarConfiguration(enum.IntEnum):
    """Values of tag 284."""

    CHUNKY = 1
    PLANAR = 2


class SampleFormat(enum.IntEnum):
    """Values of tag 339."""

    UNSIGNED = 1
    SIGNED = 2
    FLOAT = 3
    UNDEFINED = 4
    COMPLEX_INT = 5
    COMPLEX_FLOAT = 6


class ExtraSample(enum.IntEnum):
    """Values of tag 338 that change how a LERC tile is decoded."""

    UNASSOCIATED_ALPHA = 2


class Photometric(enum.IntEnum):
    """Values of tag 262 that change how a JPEG tile is decoded."""

    RGB = 2
    SEPARATED = 5
    YCBCR = 6


class GeoKey(enum.IntEnum):
    """GeoTIFF 1.1, section 7: the keys that name or define a horizontal CRS."""

    GT_MODEL_TYPE = 1024
    GT_RASTER_TYPE = 1025
    GT_CITATION = 1026
    GEODETIC_CRS = 2048
    GEODETIC_DATUM = 2050
    PRIME_MERIDIAN = 2051
    GEOG_LINEAR_UNITS = 2052
    GEOG_ANGULAR_UNITS = 2054
    ELLIPSOID = 2056
    SEMI_MAJOR_AXIS = 2057
    SEMI_MINOR_AXIS = 2058
    INVERSE_FLATTENING = 2059
    PRIME_MERIDIAN_LONGITUDE = 2061
    TO_WGS84 = 2062
    PROJECTED_CRS = 3072
    PROJECTED_CITATION = 3073
    PROJECTION = 3074
    PROJECTION_METHOD = 3075
    PROJECTED_LINEAR_UNITS = 3076
    PROJECTED_LINEAR_UNIT_SIZE = 3077
    STD_PARALLEL_1 = 3078
    STD_PARALLEL_2 = 3079
    NAT_ORIGIN_LONG = 3080
    NAT_ORIGIN_LAT = 3081
    FALSE_EASTING = 3082
    FALSE_NORTHING = 3083
    FALSE_ORIGIN_LONG = 3084
    FALSE_ORIGIN_LAT = 3085
    FALSE_ORIGIN_EASTING = 3086
    FALSE_ORIGIN_NORTHING = 3087
    CENTER_LONG = 3088
    CENTER_LAT = 3089
    CENTER_EASTING = 3090
    CENTER_NORTHING = 3091
    SCALE_AT_NAT_ORIGIN = 3092
    STRAIGHT_VERTICAL_POLE_LONG = 3095


RASTER_PIXEL_IS_POINT = 2
"""Value of GTRasterTypeGeoKey: coordinates are those of pixel centres."""

USER_DEFINED = 32767
"""Value of a geokey whose meaning other keys spell out."""
