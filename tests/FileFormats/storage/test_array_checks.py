from __future__ import annotations

import numpy as np
import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.storage.array_checks import check_finite, check_float32, checked_shape
from tests.raised import raises


@pytest.mark.parametrize("shape", [(), (0,), (1, 3), (1,) * 32, (0, 1 << 48)])
def test_a_shape_that_an_array_can_have_is_taken(shape):
    assert checked_shape(shape) == shape


@pytest.mark.parametrize(
    "sides",
    [None, 3, [1, 2], "12", (1.0,), (True, 2), (np.int64(3),), (-1,), (1,) * 33, (0, 1 << 62), (2, 1 << 48),
     (1 << 24, 1 << 25), (10**5000,)],
    ids=range(13),
)  # fmt: skip
def test_a_shape_that_no_array_can_have_is_refused(sides):
    with pytest.raises(ValueError, match="^a shape "):
        checked_shape(sides)


def test_numbers_that_cannot_be_computed_with_are_refused():
    largest = float(np.finfo(np.float32).max)
    check_float32(np.array([largest, -largest, 0.0]), "file", "field")
    check_float32(np.zeros((0, 3)), "file", "field")
    check_finite(np.array([1e300]), "file", "field")
    for check, value in ((check_finite, np.nan), (check_finite, -np.inf), (check_float32, np.nan)):
        with raises(InputError, file="file", field="field", found="NaN or infinity", expected="finite numbers"):
            check(np.array([0.0, value]), "file", "field")
    for value in (3.5e38, -1e300):
        expected = "numbers in the range of float32"
        with raises(InputError, file="file", field="field", found="a number beyond float32", expected=expected):
            check_float32(np.array([0.0, value]), "file", "field")
