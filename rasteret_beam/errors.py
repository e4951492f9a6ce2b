"""What can fail: one base class, one subclass per condition a caller can act on."""

from __future__ import annotations


class RasteretBeamError(Exception):
    """Base of every error this package raises on purpose.

    Attributes:
        code: The status a sample row or dead letter carries for this condition.
    """

    code = "ERROR"


class OptionError(RasteretBeamError, ValueError):
    """An option has a value that cannot work; the message says what would."""

    code = "INVALID_OPTION"


class BudgetError(RasteretBeamError):
    """A plan is over its budget: more tiles, bytes or requests than were allowed."""

    code = "OVER_BUDGET"


class CrsError(RasteretBeamError, ValueError):
    """Text or a code that names no coordinate reference system, or no path between two."""

    code = "INVALID_CRS"


class PointsError(RasteretBeamError, ValueError):
    """A points input cannot be read as points at all (missing columns, no CRS, ...)."""

    code = "INVALID_POINTS"


class InvalidPointError(RasteretBeamError, ValueError):
    """One row of a points input holds no usable point; the other rows are kept."""

    code = "INVALID_POINT"


class LatePointError(InvalidPointError):
    """A message's point tells of a time whose window was over before the message came."""

    code = "LATE_POINT"


class ReplayError(RasteretBeamError, ValueError):
    """There are no dead letters to run again, or what should be some is not."""

    code = "INVALID_REPLAY"


class CollectionError(RasteretBeamError, ValueError):
    """A collection as a whole cannot be read (missing columns, not Parquet, ...)."""

    code = "INVALID_COLLECTION"


class CollectionNotFoundError(CollectionError, FileNotFoundError):
    """There is no collection, or no Parquet file, at an address."""


class BandNotFoundError(CollectionError):
    """A requested band exists in no record of the collection."""

    code = "BAND_NOT_FOUND"


class BandMissingError(RasteretBeamError, ValueError):
    """One record does not have a requested band."""

    code = "BAND_MISSING"


class RecordError(RasteretBeamError, ValueError):
    """One record, or one band of it, carries metadata that cannot be used."""

    code = "INVALID_RECORD"


class NotIndexedError(RecordError):
    """One record has a band's file without its header metadata, or the other way round."""


class MalformedTiffError(RasteretBeamError, ValueError):
    """The bytes break the TIFF or GeoTIFF specification."""

    code = "MALFORMED"


class UnsupportedTiffError(RasteretBeamError, ValueError):
    """A legal TIFF whose pixels this package does not read; the message says why."""

    code = "UNSUPPORTED"


class DecodeError(RasteretBeamError, ValueError):
    """A tile's bytes do not decode to the pixels that its header promises."""

    code = "DECODE_ERROR"


class FetchError(RasteretBeamError, OSError):
    """Bytes could not be had: not found, not allowed, cut short, or out of retries."""

    code = "FETCH_ERROR"


class StaleIndexError(FetchError):
    """A file is not the one that was indexed; the collection must be brought up to date."""

    code = "STALE_INDEX"


class OutputError(RasteretBeamError, OSError):
    """The output cannot be written (disk full, not allowed), or is not what it should be."""

    code = "OUTPUT_ERROR"
