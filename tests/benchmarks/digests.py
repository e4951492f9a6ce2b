"""What all jobs must agree on: sums that depend on every value and on whose it is.

Each job makes them of its rows, inside its measured time.
"""

import numpy as np

EMPTY = (0, 0.0, 0.0, 0.0)
COLUMNS = ("point_index", "value", "neighbourhood_values")
SMALL_NUMBERS = 8192
TOLERANCE = 1e-11
"""Sums are taken in different orders; one wrong value among 1e7 is far above this."""


def of_arrays(point_index, values, windows=None):
    """Rows, values, values by (point_index + 1), and so for windows (n, k), NaN as 0.

    Without temporary arrays of the rows' size: new pages cost more than the sums.
    """
    total = float(values.sum())
    by_index = total + float(np.einsum("i,i", values, point_index))
    around = 0.0
    if windows is not None:
        step = max(SMALL_NUMBERS // windows.shape[1], 1)
        for start in range(0, len(windows), step):
            some, index = windows[start : start + step], point_index[start : start + step] + 1.0
            total_of_some = float((index @ some).sum())
            if np.isnan(total_of_some):
                total_of_some = float(np.dot(np.nansum(some, axis=1), index))
            around += total_of_some
    return len(values), total, by_index, around


def of_table(table):
    """Of an Arrow table or batch of samples."""
    if not hasattr(table, "to_batches"):
        return of_batch(table)
    return add(of_batch(batch) for batch in table.to_batches())


def of_batch(batch):
    if not batch.num_rows:
        return EMPTY
    names, windows = batch.schema.names, None
    if COLUMNS[2] in names:
        flat = batch.column(names.index(COLUMNS[2])).flatten()
        windows = flat.to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)
    index, value = (batch.column(names.index(name)) for name in COLUMNS[:2])
    return of_arrays(index.to_numpy(), value.to_numpy(zero_copy_only=False), windows)


def add(digests):
    total = EMPTY
    for digest in digests:
        total = tuple(a + b for a, b in zip(total, digest, strict=True))
    return total


def agree(one, other):
    return one[0] == other[0] and np.allclose(one, other, rtol=TOLERANCE, atol=0)
