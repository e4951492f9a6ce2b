"""What a row of the output is: a sample, or a point and record with all its bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from rasteret_beam.errors import OptionError
from rasteret_beam.output.arranging import GROUP_ROWS, Rows, chunks, column, long_rows, take
from rasteret_beam.output.parts import PLACE
from rasteret_beam.output.runs import changes, members
from rasteret_beam.output.shards import FILE_ROWS
from rasteret_beam.schema import STATUS_CODES, STATUSES, has_status

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYOUTS = ("long", "wide", "array")

_VALUES, _STATUS, _BAND_STATUSES = "values", "status", "band_statuses"
_NEIGHBOURHOOD = "neighbourhood_values"
_OF_A_BAND = ("band", "value", _NEIGHBOURHOOD)
_OF_A_RECORD = (
    "point_index", "point_x", "point_y", "point_crs", "record_id", "datetime", "collection",
    "raster_crs",
)  # fmt: skip
_MOST_BANDS_A_FILE = 4


class Layout(NamedTuple):
    """What a row of the output is.

    Attributes:
        name: ``long`` has one row per (point, record, band). ``wide`` has one per (point,
            record), with a float64 column named after each band; ``array`` likewise, with
            ``values``, a fixed-size list of float64 in the order of ``bands``. In both,
            ``status`` is the most serious of the bands' (in the order of
            ``schema.Status``), and ``band_statuses`` has theirs where they differ.
        bands: The bands, in the order of their columns; not needed for ``long``.
    """

    name: str = "long"
    bands: tuple[str, ...] = ()

    @property
    def file_rows(self) -> int:
        """How many samples a file has at most, about."""
        return FILE_ROWS * min(max(len(self.bands), 1), _MOST_BANDS_A_FILE)

    @property
    def samples_a_row(self) -> int:
        """How many samples a row of a file has."""
        return 1 if self.name == "long" else len(self.bands)

    def check(self) -> None:
        """Refuses what is no layout.

        Raises:
            OptionError: No such layout, or no bands where they are needed.
        """
        if self.name not in LAYOUTS:
            msg = f"layout must be one of {list(LAYOUTS)}, got {self.name!r}"
            raise OptionError(msg)
        if self.name != "long" and not self.bands:
            msg = f"layout {self.name!r} needs the bands, in the order of their columns"
            raise OptionError(msg)

    @property
    def added_names(self) -> tuple[str, ...]:
        """Names of columns that rows have beside those of the samples."""
        if self.name == "long":
            return ()
        values = self.bands if self.name == "wide" else (_VALUES,)
        # Whoever brings neighbourhoods, they are taken for those of the samples.
        return (*values, *map(_around, self.bands), _NEIGHBOURHOOD, _BAND_STATUSES)

    @property
    def names_beside_bands(self) -> tuple[str, ...]:
        """Names of columns that stand beside those of the bands; none where bands have none."""
        if self.name != "wide":
            return ()
        # A band of this name would be made a text, as the column of samples is.
        record = (*_OF_A_RECORD, "band")
        return (*record, _STATUS, _BAND_STATUSES, *map(_around, self.bands))

    def tables(self, rows: Rows) -> Iterator[pa.Table]:
        """Gives the rows of a file in their order, some ten thousand at a time.

        Args:
            rows: The samples, in no order.

        Yields:
            Tables of one schema, at least one.

        Raises:
            OptionError: There are samples of another band.
        """
        if self.name == "long":
            yield from long_rows(rows)
            return
        self._check_bands(rows)
        pivot = _Pivot(rows, self.bands)
        for chunk in chunks(rows, GROUP_ROWS * len(self.bands)):
            yield self._table(rows, *pivot.place(chunk))

    def _check_bands(self, rows: Rows) -> None:
        other = {label.band for label in rows.labels} - {None, *self.bands}
        if other:
            msg = f"There are samples of {sorted(map(str, other))}, but bands is {self.bands}"
            raise OptionError(msg)

    def _table(
        self, rows: Rows, source: np.ndarray, sample: np.ndarray, point: np.ndarray,
    ) -> pa.Table:
        common = take(rows, point, sample)
        added = self._values(rows, source)
        if has_status(rows.schema):
            added |= _statuses(rows, source, sample)
        names = _kept(common.schema)
        columns = {name: common[name] for name in names if name in _OF_A_RECORD} | added
        return pa.table(columns | {n: common[n] for n in names if n not in _OF_A_RECORD})

    def _values(self, rows: Rows, source: np.ndarray) -> dict[str, pa.Array]:
        has_windows = _NEIGHBOURHOOD in rows.schema.names
        if self.name == "array":
            flat, n_bands = source.reshape(-1), len(self.bands)
            values = _take(rows, "value", flat)
            found = {_VALUES: pa.FixedSizeListArray.from_arrays(values, n_bands)}
            if has_windows:
                around = _take(rows, _NEIGHBOURHOOD, flat)
                found[_NEIGHBOURHOOD] = pa.FixedSizeListArray.from_arrays(around, n_bands)
            return found
        found = {b: _take(rows, "value", source[:, at]) for at, b in enumerate(self.bands)}
        if has_windows:
            for at, band in enumerate(self.bands):
                found[_around(band)] = _take(rows, _NEIGHBOURHOOD, source[:, at])
        return found


def _kept(samples: pa.Schema) -> list[str]:
    """Columns that are the same for all bands of a record."""
    gone = (*_OF_A_BAND, _STATUS) if has_status(samples) else _OF_A_BAND
    return [name for name in samples.names if name not in gone]


class _Pivot:
    """Finds which samples share a row."""

    def __init__(self, rows: Rows, bands: tuple[str, ...]) -> None:
        records: dict[object, int] = {}
        # Labels are in order: the bands of a record follow each other.
        of_label = [records.setdefault(lb._replace(band=None), len(records)) for lb in rows.labels]
        self._record = np.array(of_label, np.min_scalar_type(len(records)))
        # The first column is for samples without a band.
        columns = {band: number for number, band in enumerate((None, *bands))}
        self._column = np.array([columns[label.band] for label in rows.labels], np.int64)
        self._n_columns = 1 + len(bands)
        self._rows = rows
        self._point = column(rows.points, PLACE), column(rows.points, "point_index")

    def place(self, chunk: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Finds the rows of a chunk.

        Args:
            chunk: int64, points by place and index.

        Returns:
            int64, shape (n_rows, n_bands): the sample of each band, -1 where there is
            none; and int64, shape (n_rows,): a sample of each row, and its point.
        """
        count = self._rows.n_samples[chunk]
        samples = members(self._rows.first[chunk], count)
        label = self._rows.label[samples]
        row, n_rows = self._share_rows(chunk, np.repeat(np.arange(len(chunk)), count), label)
        cell = row * self._n_columns + self._column[label]
        source = _scatter(samples, cell, n_rows * self._n_columns)
        if np.count_nonzero(source >= 0) < len(samples):
            # Points that share an index have a row each.
            nth = _nth_of_its_kind(cell)
            n_alike = np.zeros(n_rows, np.int64)
            np.maximum.at(n_alike, row, nth + 1)
            row = (np.cumsum(n_alike) - n_alike)[row] + nth
            n_rows = int(n_alike.sum())
            cell = row * self._n_columns + self._column[label]
            source = _scatter(samples, cell, n_rows * self._n_columns)
        source = source.reshape(n_rows, self._n_columns)
        sample = source[np.arange(n_rows), np.argmax(source >= 0, axis=1)]
        point = np.searchsorted(self._rows.first, sample, side="right") - 1
        return source[:, 1:], sample, point

    def _share_rows(
        self, chunk: np.ndarray, point: np.ndarray, label: np.ndarray,
    ) -> tuple[np.ndarray, int]:
        """The row of each sample, by record, place and index; and how many there are."""
        record = self._record[label]
        is_first = changes([point, record])
        of_run = np.cumsum(is_first) - 1
        record, point = record[is_first], point[is_first]
        order = np.argsort(record, kind="stable")
        record, point = record[order], chunk[point[order]]
        new = changes([record, *(key[point] for key in self._point)])
        row = np.empty(len(order), np.int64)
        row[order] = np.cumsum(new) - 1
        return row[of_run], int(new.sum())


def _scatter(samples: np.ndarray, cell: np.ndarray, n_cells: int) -> np.ndarray:
    source = np.full(n_cells, -1, np.int64)
    source[cell] = samples
    return source


def _nth_of_its_kind(kind: np.ndarray) -> np.ndarray:
    """How many equal ones are before each."""
    order = np.argsort(kind, kind="stable")
    new = changes([kind[order]])
    start = np.flatnonzero(new)
    nth = np.empty(len(kind), np.int64)
    nth[order] = np.arange(len(kind)) - start[np.cumsum(new) - 1]
    return nth


def _take(rows: Rows, name: str, source: np.ndarray) -> pa.Array:
    """Values of samples, null where ``source`` is -1."""
    taken = rows.samples[name].take(pa.array(source, mask=source < 0))
    return taken.combine_chunks() if taken.num_chunks != 1 else taken.chunk(0)


def _around(band: str) -> str:
    return f"{band}_{_NEIGHBOURHOOD}"


def _statuses(rows: Rows, source: np.ndarray, sample: np.ndarray) -> dict[str, pa.Array]:
    status = rows.samples[_STATUS].combine_chunks()
    known = np.array([STATUS_CODES[name] for name in status.dictionary.to_pylist()] or [0], np.int8)
    code = known[status.indices.to_numpy()]
    none = np.int8(-1)
    of_band = np.where(source >= 0, code[source], none)
    worst = of_band.max(axis=1, initial=none)
    worst = np.where(worst == none, code[sample], worst)
    # A row without any band has the status of its point.
    apart = (of_band != worst[:, np.newaxis]).any(axis=1) & (of_band != none).any(axis=1)
    flat = of_band[apart].reshape(-1)
    names = pa.array([*STATUSES], pa.string())
    listed = names.take(pa.array(flat.astype(np.int32), mask=flat == none))
    n_bands = source.shape[1]
    offsets = np.concatenate([[0], np.cumsum(np.where(apart, n_bands, 0))]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), listed, mask=pa.array(~apart))
    return {_STATUS: names.take(pa.array(worst.astype(np.int32))), _BAND_STATUSES: lists}
