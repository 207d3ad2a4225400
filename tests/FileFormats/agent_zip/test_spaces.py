from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.errors import InputError, UntrustedError
from Neuron_Selection.FileFormats.agent_zip.pickled_data import read_pickle
from Neuron_Selection.FileFormats.agent_zip.spaces import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    space_from,
)
from tests.FileFormats.crafted import (
    HASHES_FOR_EVER,
    Call,
    dumps,
    gym_box,
    gym_dict,
    numpy_1_array,
    numpy_1_scalar,
    numpy_2_buffer,
    space,
    stub,
)
from tests.raised import parts, raises


def read(value, *, protocol=4):
    data = value if isinstance(value, bytes) else dumps(value, protocol=protocol)
    return space_from(read_pickle(data, where="agent.zip", what="space"), where="agent.zip", field="space")


def same(found, space):
    """Whether our record describes the space of gymnasium."""
    if isinstance(space, spaces.Dict):
        return list(found.spaces) == list(space.spaces) and all(
            same(found.spaces[k], s) for k, s in space.spaces.items()
        )
    if isinstance(space, spaces.Box):
        bounds = np.array_equal(found.low, space.low) and np.array_equal(found.high, space.high)
        return isinstance(found, BoxSpace) and bounds and (found.shape, found.dtype) == (space.shape, space.dtype)
    if isinstance(space, spaces.Discrete):
        return found == DiscreteSpace(n=int(space.n), start=int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        return isinstance(found, MultiDiscreteSpace) and np.array_equal(found.nvec, space.nvec)
    return found == MultiBinarySpace(shape=space.shape)


BOX = spaces.Box(np.array([-1, -np.inf], np.float32), np.array([1, np.inf], np.float32))
IMAGE = spaces.Box(0, 255, (3, 8, 8), np.uint8)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    "space",
    [
        BOX,
        IMAGE,
        spaces.Box(-1, 1, (), np.float64),
        spaces.Box(0, 1, (2, 3), np.int32),
        spaces.Discrete(5),
        spaces.Discrete(5, start=-2),
        spaces.Box(0, 1, (1, 4)),
        spaces.MultiDiscrete([2, 1, 4]),
        spaces.MultiBinary(4),
        spaces.MultiBinary((2, 3)),
        spaces.Dict({"b": BOX, "a": spaces.Discrete(2), "image": IMAGE}),
        spaces.Dict(OrderedDict(z=BOX, a=BOX)),
    ],
    ids=str,
)
def test_every_space_of_gymnasium_is_read_as_it_is(space, protocol):
    space.seed(0)  # the random state is pickled with the space, and never looked at
    assert same(read(space, protocol=protocol), space)


LOW, HIGH = np.full((2,), -2, np.float32), np.full((2,), 3, np.float32)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("arrays", [numpy_1_array, numpy_2_buffer])
@pytest.mark.parametrize("shape_name", ["shape", "_shape"])
def test_a_box_of_old_gym_is_read(shape_name, arrays, protocol):
    found = read(gym_box(LOW, HIGH, shape_name=shape_name, arrays=arrays), protocol=protocol)
    assert same(found, spaces.Box(-2, 3, (2,), np.float32))


def test_the_other_spaces_of_old_gym_are_read():
    assert read(space("Discrete", n=4, shape=(), dtype=np.dtype(np.int64))) == DiscreteSpace(n=4)
    assert read(space("Discrete", n=numpy_1_scalar(np.int64(4)), start=numpy_1_scalar(np.int64(1)))) == DiscreteSpace(
        n=4, start=1
    )
    assert read(space("MultiDiscrete", nvec=numpy_1_array(np.array([2, 3])))).nvec.tolist() == [2, 3]
    assert read(space("MultiBinary", n=3, shape=(3,))) == MultiBinarySpace(shape=(3,))
    assert read(space("MultiBinary", n=3)) == MultiBinarySpace(shape=(3,))
    named = read(gym_dict(z=gym_box(LOW, HIGH), a=space("Discrete", n=2)))
    assert isinstance(named, DictSpace)
    assert list(named.spaces) == ["z", "a"]


def test_a_scalar_type_is_read_as_a_dtype():
    assert read(gym_box(LOW, HIGH, dtype=np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("box", "is_image"),
    [
        (IMAGE, True),
        (spaces.Box(0, 255, (8, 8), np.uint8), False),
        (spaces.Box(0, 255, (3, 8, 8), np.float32), False),
        (spaces.Box(0, 254, (3, 8, 8), np.uint8), False),
        (spaces.Box(1, 255, (3, 8, 8), np.uint8), False),
    ],
)
def test_an_image_is_what_stable_baselines3_takes_for_one(box, is_image):
    assert read(box).is_image is is_image


N = "n is not from 1 to 10,000,000"
NO_INTEGER = "not an integer"
NVEC = "nvec is not an array of positive integers"
START = "start is not a 64-bit integer"
NO_ARRAY = "not an array"


@pytest.mark.parametrize(
    ("value", "kind", "damage"),
    [
        (space("Discrete", shape=()), "Discrete", "'n'"),
        (
            gym_box(LOW, HIGH, low=numpy_1_array(np.array(["a", "b"]))),
            "Box",
            "a dtype other than of booleans, integers or floats",
        ),
        (space("Discrete", n=0), "Discrete", N),
        (space("Discrete", n=10**9), "Discrete", N),
        (space("Discrete", n=True), "Discrete", NO_INTEGER),
        (space("Discrete", n=4, start="x"), "Discrete", NO_INTEGER),
        (space("Discrete", n=4, start=10**5000), "Discrete", START),
        (space("Discrete", n=4, start=-(10**30)), "Discrete", START),
        (space("MultiDiscrete", nvec=numpy_1_array(np.array([2, 0]))), "MultiDiscrete", NVEC),
        (space("MultiDiscrete", nvec=numpy_1_array(np.array([2.0]))), "MultiDiscrete", NVEC),
        (space("MultiBinary", n=0), "MultiBinary", "a shape with a side of 0"),
        (
            space("MultiBinary", n=1, _shape=(1 << 20, 1 << 20)),
            "MultiBinary",
            "a shape of more than 268,435,456 entries",
        ),
        (gym_box(LOW, HIGH, _shape=None), "Box", "a shape that is not a tuple of at most 8 integers"),
        (gym_box(LOW, HIGH, _shape=(3,)), "Box", "bounds of shape (2,) and (2,) for shape (3,)"),
        (gym_box(LOW, HIGH, high=numpy_1_array(HIGH[:1])), "Box", "bounds of shape (2,) and (1,) for shape (2,)"),
        (gym_box(LOW, HIGH, dtype="float32"), "Box", "not a dtype"),
        (gym_box(LOW, HIGH, low=-1.0), "Box", NO_ARRAY),
        (gym_box(LOW, HIGH, low=Call(print, "x")), "Box", NO_ARRAY),
        (b"cgym.spaces.box\nBox\n)R}(S'_shape'\n)S'low'\n" + HASHES_FOR_EVER + b")RS'high'\nNub.", "Box", NO_ARRAY),
    ],
    ids=range(19),
)
def test_a_space_with_a_damaged_state_is_refused_with_the_damage(value, kind, damage):
    found = f"a damaged {kind} space ({damage})"
    with raises(InputError, file="agent.zip", field="space", found=found, expected=f"a {kind} space"):
        read(value)


NO_DICT = parts(found="a damaged Dict space", expected="a Dict space with named parts")
KINDS = "Box, Discrete, MultiDiscrete, MultiBinary, Dict"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (5, parts(found='5', expected=f"a space ({KINDS})")),
        ([BOX], parts(found='a list', expected=f"a space ({KINDS})")),
        (spaces.Tuple([BOX]), parts(found='a Tuple space', expected=f"one of {KINDS}")),
        (spaces.Text(4), parts(found='a Text space', expected=f"one of {KINDS}")),
        (spaces.Box, parts(found='a space without its attributes', expected='a pickled space')),
        (space("Dict", spaces=OrderedDict()), NO_DICT),
        (space("Dict", spaces=[BOX]), NO_DICT),
        (space("Dict", spaces={1: BOX}), NO_DICT),
        (space("Dict", spaces=Call(print, "x")), NO_DICT),
        (gym_dict(a=gym_dict(b=gym_box(LOW, HIGH))),
         parts(found="a Dict space inside a Dict space (under 'a')", expected='one level')),
    ],
    ids=range(10),
)  # fmt: skip
def test_what_is_no_space_of_a_known_kind_is_refused(value, error):
    with raises(InputError, file="agent.zip", field="space", **error):
        read(value)


@pytest.mark.parametrize(
    ("value", "called"),
    [
        (Call(eval, "1"), "builtins.eval"),
        (space("Box", module="my_project.spaces"), "my_project.spaces.box.Box"),
        (Call(stub("gym.spaces.box.evil", "Box")), "gym.spaces.box.evil.Box"),
        (Call(stub("gym", "make"), "x"), "gym.make"),
        (space("Dict", spaces={"a": Call(exec, "1")}), "builtins.exec"),
    ],
)
def test_what_is_no_space_of_gym_is_not_trusted(value, called):
    found = f"a call of '{called}'"
    with raises(UntrustedError, file="agent.zip", field="space", found=found, expected=f"a space ({KINDS})"):
        read(value)
