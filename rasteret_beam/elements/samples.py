"""Sample rows, finished or not, and what could not become one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from rasteret_beam.elements.batch import Batch
from rasteret_beam.elements.packing import Packed, pack, unpack

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from rasteret_beam.elements.points import PlanCounts
    from rasteret_beam.elements.tiles import BlockRows, TileBlockKey


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PixelWindows:
    """What one batch of tiles knows of the pixels around some samples.

    A window is the (2r + 1)^2 pixels around a centre, row-major. Windows that cross
    a batch's edge are partial; parts from other batches complete them.

    Attributes:
        key: The block that owns the centre pixels.
        layer: The record's ordinal and the band's number. Windows of one layer around the
            same pixel hold equal pixels.
        pixel: int64, shape (n,): the centre's row * the image's width + its column.
        position: float64, shape (n, 2): row_float, col_float of the point.
        values: The file's dtype, shape (n, (2r + 1)^2), 0 where unknown.
        state: uint8, same shape: ``reading.UNKNOWN`` and its like.
        scale: Size of a pixel (x, y) in CRS units, both positive.
    """

    key: TileBlockKey
    layer: tuple[int, int]
    pixel: np.ndarray
    position: np.ndarray
    values: np.ndarray
    state: np.ndarray
    scale: tuple[float, float]

    def take(self, at: np.ndarray | slice) -> PixelWindows:
        """Gives some of the windows, by int64 indexes."""
        return PixelWindows(
            self.key,
            self.layer,
            self.pixel[at],
            self.position[at],
            self.values[at],
            self.state[at],
            self.scale,
        )

    @property
    def nbytes(self) -> int:
        """Memory of the pixels and their states, in bytes."""
        return self.values.nbytes + self.state.nbytes


class Outcomes(NamedTuple):
    """What became of the rows that were planned: each is in one of these.

    Attributes:
        samples_ok: Have the value of the point's own pixel.
        samples_fallback: Have that of a pixel near it.
        samples_nodata: The pixel is nodata, and so are those around it as far as asked.
        samples_failed: A tile could not be read; no row where those are omitted.
    """

    samples_ok: int
    samples_fallback: int
    samples_nodata: int
    samples_failed: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SampleBatch(Batch):
    """Sample rows, and what ``FallbackRing`` needs to finish them.

    Attributes:
        samples: Rows in the schema of ``schema.sample_schema``.
        crs: CRS of their coordinates; None means "as the rasters' own".
        event_time_us: int64, shape (n_rows,), or None.
        windows: Pixels around the rows, a window a row, where other batches hold some of
            them; or, where there are no rows, around rows of other batches, ordered by
            ``pixel``, each once. None for rows that are finished.
        neighbours: Shape (n_rows, (2r + 1)^2): what is to become of the rows'
            ``neighbourhood_values``; None once ``FallbackRing`` is through. In the
            file's dtype, several times smaller than the column, where all are known; else
            float64.
        block: The block whose rows these are some of; None where they need no tile.
        counts: Where the points of a whole planned batch went, on one of the batches
            that planning gives for it; else None.
        outcomes: What became of the rows that were finished by the step that gives the
            batch, for its counters; not for others, and not pickled.
    """

    samples: pa.RecordBatch
    crs: str | None
    event_time_us: np.ndarray | None = None
    windows: PixelWindows | None = None
    neighbours: np.ndarray | None = None
    block: BlockRows | None = None
    counts: PlanCounts | None = None
    outcomes: Outcomes | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the rows and windows, in bytes."""
        around = 0 if self.neighbours is None else self.neighbours.nbytes
        windows = 0 if self.windows is None else self.windows.nbytes
        return int(self.samples.nbytes) + around + windows

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the samples as an IPC stream."""
        rest = (self.crs, self.event_time_us, self.windows, self.neighbours, self.block)
        return _sample_batch, (pack(self.samples), *rest, self.counts)


def _sample_batch(data: Packed, *rest: Any) -> SampleBatch:  # noqa: ANN401 -- the other fields
    return SampleBatch(unpack(data), *rest)


class DeadLetter(NamedTuple):
    """Input that can never succeed: what it was, where it failed, and why.

    The first three fields are those of Beam's error-handling rows.

    Attributes:
        element: JSON text that names the input: file, record, band, tile, points.
        msg: What went wrong, with the offending value.
        stack: Traceback text, or "".
        stage: What kind of input it was, by the transform that mostly reads it: one of
            ``elements.stages``.
        code: The status code of the condition, as in sample rows.
    """

    element: str
    msg: str
    stack: str
    stage: str
    code: str
