from __future__ import annotations

import warnings

import numpy as np
import pytest

from Neuron_Selection.errors import InputError, SuiteWarning
from Neuron_Selection.FileFormats.agent_zip.spaces import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
)
from Neuron_Selection.FileFormats.observations import count_of, observations_from, rows_of
from tests.raised import parts, raises


def box(*shape, low=-10.0, high=10.0, dtype=np.float32):
    bounds = [np.full(shape, bound, dtype) for bound in (low, high)]
    return BoxSpace(shape=shape, dtype=np.dtype(dtype), low=bounds[0], high=bounds[1])


VECTOR = box(3)
IMAGE = box(3, 2, 4, low=0, high=255, dtype=np.uint8)
PIXELS = np.arange(24).reshape(3, 2, 4)
GRID = MultiDiscreteSpace(nvec=np.array([2, 5]))
NAMED = DictSpace(spaces={"position": box(2), "heading": DiscreteSpace(n=4)})
BARE = DictSpace(spaces={"MLP_input": VECTOR})


def read(space, *values):
    return observations_from(list(values), space, where="clean.json", fields=["a", "b", "c"][: len(values)])


@pytest.mark.parametrize(
    ("space", "value", "dtype"),
    [
        (VECTOR, [1, -2.5, 3], np.float32),
        (VECTOR, np.array([1, -2.5, 3], np.float64), np.float32),
        (VECTOR, (np.float32(1), 2, 3.5), np.float32),
        (box(2, 2), [[1.0, 2.0], [3.0, 4.0]], np.float32),
        (box(2, low=-np.inf, high=np.inf), [float(np.finfo(np.float32).max), -1e-45], np.float32),
        (box(2, dtype=np.float64), [1e-300, 0.1], np.float64),
        (box(2, low=-5, high=5, dtype=np.int32), [-5, 5.0], np.int32),
        (box(2, low=False, high=True, dtype=np.bool_), [0, 1], np.bool_),
        (box(), 4.5, np.float32),
        (IMAGE, PIXELS.tolist(), np.uint8),
        (DiscreteSpace(n=3), 2, np.int64),
        (DiscreteSpace(n=3), 2.0, np.int64),
        (GRID, [1, 4], np.int64),
        (MultiBinarySpace(shape=(2, 2)), [[0, 1], [1, 1]], np.int8),
    ],
)
def test_an_observation_of_each_space_keeps_its_values_in_the_spaces_dtype(space, value, dtype):
    batch = read(space, value, value)
    assert batch.dtype == dtype
    assert batch.shape == (2, *np.shape(value))
    assert np.array_equal(batch[1], np.asarray(value, dtype))


def test_a_dict_observation_gives_one_batch_a_key():
    batch = read(NAMED, {"heading": 3, "position": [1, 2]}, {"position": [3, 4], "heading": 0})
    assert list(batch) == ["position", "heading"]
    assert batch["position"].tolist() == [[1, 2], [3, 4]]
    assert batch["heading"].tolist() == [3, 0]
    assert count_of(batch) == 2
    assert rows_of(batch, [1])["heading"].tolist() == [0]


def test_a_dict_space_of_one_key_takes_the_bare_value_too():
    batch = read(BARE, [1, 2, 3], {"MLP_input": [4, 5, 6]})
    assert batch["MLP_input"].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_batch_dimension_of_one_is_taken_off():
    assert read(VECTOR, [[1, 2, 3]]).tolist() == [[1, 2, 3]]
    assert np.array_equal(read(IMAGE, PIXELS[None])[0], PIXELS)


def test_an_image_with_channels_last_is_transposed_with_a_warning():
    with pytest.warns(SuiteWarning) as caught:
        batch = read(IMAGE, PIXELS.tolist(), PIXELS.transpose(1, 2, 0).tolist())
    assert np.array_equal(batch[0], batch[1])
    assert [str(one.message) for one in caught] == [
        "clean.json: 1 images have their channels last; transposed to an array of 3 x 2 x 4, as SB3 does"
    ]


def test_an_image_whose_sides_are_equal_is_never_transposed():
    cube = np.arange(27).reshape(3, 3, 3)
    assert np.array_equal(read(box(3, 3, 3, low=0, high=255, dtype=np.uint8), cube)[0], cube)


def zeros(space):
    if isinstance(space, DictSpace):
        return {key: zeros(part) for key, part in space.spaces.items()}
    return np.zeros(space.nvec.shape if space is GRID else getattr(space, "shape", ()), int)


def image_with(value):
    pixels = PIXELS.tolist()
    pixels[2][1][3] = value
    return pixels


@pytest.mark.parametrize(
    ("space", "value", "error"),
    [
        (VECTOR, [1, 2], parts(field="b", found="2 numbers", expected="3 numbers")),
        (VECTOR, [1, 2, 3, 1, 2, 3], parts(field="b", found="6 numbers", expected="3 numbers")),
        (VECTOR, [[1, 2, 3], [1, 2, 3]], parts(field="b", found="an array of 2 x 3", expected="3 numbers")),
        (VECTOR, [], parts(field="b", found="0 numbers", expected="3 numbers")),
        (VECTOR, 1.0, parts(field="b", found="one number", expected="3 numbers")),
        (VECTOR, [1, [2], 3], parts(field="b", found="lists of unequal lengths", expected="a full array")),
        (box(2, 2), [[1, 2], [3]], parts(field="b", found="lists of unequal lengths", expected="a full array")),
        (VECTOR, None, parts(field="b", found="null", expected="numbers")),
        (VECTOR, [1, None, 3], parts(field="b", found="null", expected="numbers")),
        (VECTOR, [1, True, 3], parts(field="b", found="true", expected="numbers")),
        (VECTOR, [1, "2", 3], parts(field="b", found="'2'", expected="numbers")),
        (VECTOR, "123", parts(field="b", found="'123'", expected="numbers")),
        (VECTOR, {"x": 1}, parts(field="b", found="an object", expected="numbers")),
        (VECTOR, [1, {}, 3], parts(field="b", found="an object", expected="numbers")),
        (VECTOR, [1, float("nan"), 3], parts(field="b", found="NaN or infinity", expected="finite numbers")),
        (VECTOR, np.array([1, np.inf, 3]), parts(field="b", found="NaN or infinity", expected="finite numbers")),
        (VECTOR, np.array([True, True, False]), parts(field="b", found="bool values", expected="numbers")),
        (VECTOR, np.array([1j, 2, 3]), parts(field="b", found="complex128 values", expected="numbers")),
        (VECTOR, [1, 10**400, 3], parts(field="b", found="an integer too large", expected="numbers")),
        (VECTOR, [1, 10**400, 3.5], parts(field="b", found="an integer too large", expected="numbers")),
        (VECTOR, [1, 2, 1e39], parts(field="b[2]", found="1e+39", expected="at most 3.4e+38 in size")),
        (VECTOR, [1, -1e39, 2], parts(field="b[1]", found="-1e+39", expected="at most 3.4e+38 in size")),
        (VECTOR, [[[[[[[[[[1]]]]]]]]]], parts(field="b", found="lists nested more than 8 deep", expected="an array")),
        (IMAGE, image_with(300), parts(field="b[2][1][3]", found="300", expected="0 to 255")),
        (IMAGE, image_with(-1), parts(field="b[2][1][3]", found="-1", expected="0 to 255")),
        (IMAGE, image_with(0.5), parts(field="b[2][1][3]", found="0.5", expected="whole numbers (uint8)")),
        (
            IMAGE,
            PIXELS.transpose(0, 2, 1),
            parts(field="b", found="an array of 3 x 4 x 2", expected="an array of 3 x 2 x 4"),
        ),
        (box(3, low=0, high=1, dtype=np.bool_), [0, 2, 1], parts(field="b[1]", found="2", expected="0 to 1")),
        (DiscreteSpace(n=3), 3, parts(field="b", found="3", expected="whole numbers from 0 to 2")),
        (DiscreteSpace(n=3), -1, parts(field="b", found="-1", expected="whole numbers from 0 to 2")),
        (DiscreteSpace(n=3), 1.5, parts(field="b", found="1.5", expected="whole numbers from 0 to 2")),
        (DiscreteSpace(n=3), [0, 1], parts(field="b", found="2 numbers", expected="one number")),
        (GRID, [2, 0], parts(field="b[0]", found="2", expected="whole numbers from 0 to 1")),
        (GRID, [1, 5], parts(field="b[1]", found="5", expected="whole numbers from 0 to 4")),
        (MultiBinarySpace(shape=(2,)), [0, 2], parts(field="b[1]", found="2", expected="whole numbers from 0 to 1")),
        (NAMED, {"position": [1, 2]}, parts(field="b.heading", problem="is missing")),
        (NAMED, {"x\n": 1}, parts(field="b.'x\\n'", problem="is not a key of this space; keys: position, heading")),
        (
            NAMED,
            {"position": [1, 2, 3], "heading": 0},
            parts(field="b.position", found="3 numbers", expected="2 numbers"),
        ),
        (
            NAMED,
            {"position": [1, 2], "heading": 4},
            parts(field="b.heading", found="4", expected="whole numbers from 0 to 3"),
        ),
        (NAMED, [1, 2], parts(field="b", found="a list", expected="an object with the keys position, heading")),
        (
            BARE,
            {"mlp_input": [1, 2, 3]},
            parts(field="b.mlp_input", problem="is not a key of this space; keys: MLP_input"),
        ),
        (BARE, {}, parts(field="b.MLP_input", problem="is missing")),
        (BARE, [1, 2], parts(field="b.MLP_input", found="2 numbers", expected="3 numbers")),
    ],
)
def test_what_is_no_observation_of_the_space_is_an_error_at_its_place(space, value, error):
    with raises(InputError, file="clean.json", **error):
        read(space, zeros(space), value)


def test_values_outside_of_the_bounds_are_kept_with_a_warning():
    with pytest.warns(SuiteWarning) as caught:
        batch = read(VECTOR, [0, 0, 0], [0, 11, 0], [-10.5, 0, 0])
    assert batch.tolist() == [[0, 0, 0], [0, 11, 0], [-10.5, 0, 0]]
    assert [str(one.message) for one in caught] == [
        "clean.json: 2 inputs are outside the observation space's bounds (first: b)"
    ]


@pytest.mark.parametrize(("pixels", "warned"), [((PIXELS % 2), True), (PIXELS * 0, False), (PIXELS, False)])
def test_pixels_that_never_exceed_one_are_reported_as_divided(pixels, warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read(IMAGE, pixels)
    assert [str(one.message) for one in caught] == warned * [
        "clean.json: no pixel is above 1, but this agent expects 0 to 255; were the images divided by 255?"
    ]


def test_no_observations_are_an_empty_batch():
    assert read(VECTOR).shape == (0, 3)
    assert read(NAMED)["heading"].shape == (0,)
