"""Matrix products of one shape only, so that a row's bits depend on nothing but the row.

A product's last bits depend on how many rows it has, on a row's place where a width leaves a remainder, and on threads
where the summed axis is long. Here every product has 64 rows, widths are padded to multiples of 8, and at most 256
terms are summed at once. Tried: a row's place changes no bit with OpenBLAS's kernels for SkylakeX, Haswell, Zen,
Sandybridge and Nehalem, at 1 and 2 threads; 1 to 4 threads give the same bits with SkylakeX's in the OpenBLAS of
numpy 2, not in that of numpy 1.26.
"""

from __future__ import annotations

import numpy as np

from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS

LANES = 8  # widths, and the rows of a low-rank product, are multiples of it
_SUMMED_AT_ONCE = 256


def padded(count: int, multiple: int) -> int:
    """The next multiple, ``count`` itself where it is one."""
    return -(-count // multiple) * multiple


def padded_array(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``array`` in float64, padded with zeros to this shape."""
    filled = np.zeros(shape)
    filled[tuple(slice(side) for side in array.shape)] = array
    return filled


def product(rows: np.ndarray, columns: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``rows @ columns``, 64 rows at a time.

    :param rows: (n, k), contiguous, n a multiple of 64
    :param columns: (k, width)
    :param out: (n, width), contiguous
    """
    result = np.empty((len(rows), columns.shape[1])) if out is None else out
    blocks = rows.reshape(-1, CHUNK_ROWS, rows.shape[1])
    result_blocks = result.reshape(-1, CHUNK_ROWS, columns.shape[1])
    np.matmul(blocks[..., :_SUMMED_AT_ONCE], columns[:_SUMMED_AT_ONCE], out=result_blocks)
    for start in range(_SUMMED_AT_ONCE, rows.shape[1], _SUMMED_AT_ONCE):
        part = slice(start, start + _SUMMED_AT_ONCE)
        result_blocks += np.matmul(blocks[..., part], columns[part])
    return result


def low_rank_product(factors: np.ndarray, columns: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``factors @ columns`` in blocks of 8 rows, each with columns of its own.

    A single term would leave BLAS for a loop eight times slower, so there are always two or more.

    :param factors: (blocks, 8, k), k at least 2
    :param columns: (blocks, k, width), width a multiple of 8
    """
    moved: np.ndarray = np.matmul(factors, columns, out=out)
    return moved
