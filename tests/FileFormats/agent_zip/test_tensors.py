from __future__ import annotations

import os
import pickle
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch

from Neuron_Selection.errors import InputError, UntrustedError
from Neuron_Selection.FileFormats.agent_zip.tensors import tensors_from, weights_sha256
from tests.FileFormats.crafted import Call, Storage, dumps, policy_pth, rezipped, stub, tensor
from tests.made_agents import mlp_state, state_bytes
from tests.raised import parts, raises

DTYPES = [
    "float32",
    "float64",
    "float16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "complex64",
    "complex128",
]
SIX = np.arange(6, dtype=np.float32)
W = stub("torch._utils", "_rebuild_parameter")


def read(data):
    return tensors_from(data, where="policy.pth")


def read_one(record, *storages):
    return read(policy_pth({"w": record}, storages=storages or (SIX.tobytes(),)))["w"]


def test_a_tensor_name_with_half_a_surrogate_pair_is_refused():
    with raises(
        InputError,
        file="policy.pth",
        field="'w\\ud800'",
        found="a tensor name that is not valid UTF-8",
        expected="text",
    ):
        read(policy_pth({"w\ud800": tensor()}, storages=(SIX.tobytes(),)))


def assert_same_bits(found, state):
    assert list(found) == list(state)
    for name, expected in state.items():
        values = expected.detach().numpy()
        assert found[name].dtype == values.dtype
        assert found[name].shape == values.shape
        assert found[name].tobytes() == values.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_of_every_dtype_keep_their_bits_and_are_never_cast(dtype):
    values = torch.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(torch, dtype))
    assert_same_bits(read(state_bytes({"w": values})), {"w": values})


def test_tensors_of_every_layout_keep_their_values():
    whole = torch.arange(24.0).reshape(2, 3, 4)
    state = {
        "scalar": torch.tensor(3.5),
        "transposed": whole.permute(2, 0, 1),
        "view": whole[1, 1:, 2],
        "every other": whole[:, ::2],
        "one row": whole[:1].expand(1, 3, 4),
        "parameter": torch.nn.Parameter(whole),
        "shared": whole,
        "mlp": mlp_state()["q_net.q_net.0.weight"],
    }
    assert_same_bits(read(state_bytes(state)), state)


def test_an_ordered_state_dict_of_a_module_is_read():
    module = torch.nn.Linear(3, 2)
    assert_same_bits(read(state_bytes(module.state_dict())), dict(module.state_dict()))


def test_no_tensor_can_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        read_one(tensor())[0, 0] = 1


def test_tensors_of_an_absent_device_are_read():
    on_gpu = rezipped(
        state_bytes({"w": torch.ones(3)}),
        data_pkl=lambda content: content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:3"),
    )
    assert b"cuda:3" in on_gpu
    assert read(on_gpu)["w"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(("byteorder", "dtype"), [(b"big", ">f4"), (b"little", "<f4"), (None, "<f4")])
def test_bytes_are_read_in_the_order_that_the_file_names(byteorder, dtype):
    data = policy_pth({"w": tensor()}, storages=(SIX.astype(dtype).tobytes(),), byteorder=byteorder)
    found = read(data)["w"]
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_what_follows_the_five_needed_arguments_is_not_looked_at():
    hooks = Call(os.system, "false")
    assert (
        read_one(Call(stub("torch._utils", "_rebuild_tensor_v2"), Storage(), 0, (6,), (1,), hooks)).tolist()
        == SIX.tolist()
    )
    assert read_one(Call(W, tensor(), 0, hooks)).shape == (2, 3)


def with_warnings_off(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


SPARSE = "a tensor made by 'torch._utils._rebuild_sparse_tensor'"
OVERLAPPING = "an expanded or overlapping tensor"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: torch.eye(3).to_sparse(), parts(field="'w'", found=SPARSE, expected="a plain dense tensor")),
        (lambda: torch.eye(3).to_sparse_csr(), parts(field="'w'", found=SPARSE, expected="a plain dense tensor")),
        (lambda: torch.ones(1, 3).expand(4, 3), parts(field="'w'", found=OVERLAPPING, expected="a plain dense tensor")),
        (
            lambda: torch.arange(6.0).as_strided((3, 3), (1, 1)),
            parts(field="'w'", found=OVERLAPPING, expected="a plain dense tensor"),
        ),
        (lambda: torch.zeros(0, 3), parts(field="'w'", found="an empty tensor", expected="one with values")),
        (
            lambda: torch.ones(3, dtype=torch.bfloat16),
            parts(field="'w'", found="storage 'torch.BFloat16Storage'", expected="floats"),
        ),
    ],
)
def test_a_tensor_of_torch_that_is_not_dense_is_refused(make, error):
    with raises(InputError, file="policy.pth", **error):
        read(state_bytes({"w": with_warnings_off(make)}))


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (5, parts(found="5", expected="a tensor")),
        ("text", parts(found="'text'", expected="a tensor")),
        (Call(stub("torch._utils", "_rebuild_tensor_v2"), Storage()), parts(found="Built", expected="a tensor")),
        (tensor(storage="0"), parts(found="a tensor without a storage", expected="a tensor")),
        (tensor(Storage("UntypedStorage")), parts(found="storage 'torch.UntypedStorage'", expected="floats")),
        (tensor(Storage(member=0)), parts(found="a storage without a member and a size", expected="a tensor")),
        (tensor(Storage(count="6")), parts(found="a storage without a member and a size", expected="a tensor")),
        (tensor(Storage(count=7)), parts(found="a storage of 24 bytes", expected="7 values of 4 bytes")),
        (tensor(Storage(count=-6)), parts(found="a storage of 24 bytes", expected="-6 values of 4 bytes")),
        (
            tensor(Storage(count=10**5000)),
            parts(found="a storage of 24 bytes", expected="an integer of 16610 bits values of 4 bytes"),
        ),
        (tensor(Storage("DoubleStorage")), parts(found="a storage of 24 bytes", expected="6 values of 8 bytes")),
        (tensor(size=[2, 3]), parts(found="a tensor record whose sizes are not integers", expected="a tensor")),
        (tensor(size=(2, 3.0)), parts(found="a tensor record whose sizes are not integers", expected="a tensor")),
        (tensor(size=(2, -3)), parts(found="a tensor record whose sizes are not integers", expected="a tensor")),
        (tensor(size=(2, True)), parts(found="a tensor record whose sizes are not integers", expected="a tensor")),
        (tensor(stride=(3,)), parts(found="a tensor record whose sizes are not integers", expected="a tensor")),
        (tensor(stride=(-3, 1)), parts(found="a tensor record whose sizes are not integers", expected="a tensor")),
        (tensor(offset=-1), parts(found="a tensor record whose sizes are not integers", expected="a tensor")),
        (tensor(size=(1 << 50, 3)), parts(found="a tensor record whose sizes are not integers", expected="a tensor")),
        (tensor(size=(1,) * 9, stride=(1,) * 9), parts(found="9 dimensions", expected="at most 8")),
        (
            tensor(size=(3, 3)),
            (parts(found="a tensor that ends 3 values past its storage", expected="a tensor inside its storage")),
        ),
        (
            tensor(offset=1),
            parts(found="a tensor that ends 1 values past its storage", expected="a tensor inside its storage"),
        ),
        (
            tensor(size=(), stride=(), offset=6),
            parts(found="a tensor that ends 1 values past its storage", expected="a tensor inside its storage"),
        ),
        (
            tensor(size=(2, 3), stride=(2, 1)),
            parts(found="an expanded or overlapping tensor", expected="a plain dense tensor"),
        ),
        (
            tensor(size=(0, (1 << 47), (1 << 47)), stride=(1, 1, 1)),
            parts(found="an empty tensor", expected="one with values"),
        ),
    ],
    ids=range(25),
)
def test_a_tensor_record_that_does_not_fit_is_refused(record, error):
    with raises(InputError, file="policy.pth", field="'w'", **error):
        read_one(record)


def test_a_side_of_one_may_have_any_stride():
    for stride in (0, 1, 6, 1 << 40):
        assert read_one(tensor(size=(1, 6), stride=(stride, 1))).tolist() == [SIX.tolist()]


def test_tensors_that_cover_their_storage_many_times_over_are_refused():
    data = policy_pth(
        {f"w{n}": tensor(Storage(count=300), 0, (300,), (1,)) for n in range(20)}, storages=(bytes(1200),)
    )
    with raises(
        InputError,
        file="policy.pth",
        found="tensors much larger than the stored bytes",
        expected="tensors with separate storages",
    ):
        read(data)


OLD_TORCH = parts(
    found="tensors in the format of torch before 1.6", expected="a zip", hint="save the agent again with a newer torch"
)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", OLD_TORCH),
        (pickle.dumps({}), OLD_TORCH),
        (b"PK\x03\x04cut", parts(found="a truncated or damaged zip", expected="a zip file", hint="download it again")),
        (rezipped(policy_pth({}), data_pkl=None), parts(found="0 members called data.pkl", expected="one")),
        (policy_pth(b"N."), parts(found="null", expected="a state dict of tensors")),
        (policy_pth([1]), parts(found="a list", expected="a state dict of tensors")),
        (
            policy_pth(b"garbage"),
            parts(field="tensor records", found="a damaged pickle", expected="a pickle of plain data"),
        ),
        (
            policy_pth({"w": 1}, byteorder=b"middle"),
            parts(field="byteorder", found="'middle'", expected="little or big"),
        ),
        (
            policy_pth({1: tensor()}),
            parts(field="1", found="a tensor name that is not text or is repeated", expected="distinct names"),
        ),
        (policy_pth({"w": tensor()}), parts(field="'archive/data/0'", problem="no such member")),
        (
            policy_pth({"w": tensor(Storage(member="../data.pkl"))}),
            parts(field="'archive/data/../data.pkl'", problem="no such member"),
        ),
        (policy_pth({str(n): 1 for n in range(10_001)}), parts(found="10,001 tensors", expected="at most 10,000")),
        (policy_pth(tensor()), parts(found="Built", expected="a state dict of tensors")),
    ],
    ids=range(13),
)
def test_what_is_no_state_dict_is_refused(data, error):
    with raises(InputError, file="policy.pth", **error):
        read(data)


def test_a_tensor_named_twice_is_refused():
    twice = dumps(OrderedDict(a=tensor(), w=tensor()), protocol=2).replace(b"\x01\x00\x00\x00a", b"\x01\x00\x00\x00w")
    with raises(
        InputError,
        file="policy.pth",
        field="'w'",
        found="a tensor name that is not text or is repeated",
        expected="distinct names",
    ):
        read(policy_pth(twice, storages=(SIX.tobytes(),)))


CALL = f"a call of '{os.system.__module__}.system'"


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (Call(os.system, "false"), parts(found=CALL)),
        (
            {"w": Call(os.system, "false")},
            parts(field="'w'", found=CALL),
        ),
        (
            {"w": Call(W, Call(os.system, "false"))},
            parts(field="'w'", found=CALL),
        ),
        (
            Call(OrderedDict, [("w", 1)]),
            parts(found="a call of 'collections.OrderedDict'"),
        ),
    ],
)
def test_a_pickle_that_would_call_something_else_is_not_trusted(state, error):
    with raises(UntrustedError, file="policy.pth", expected="plain dense tensors", **error):
        read(policy_pth(state, storages=(SIX.tobytes(),)))


def test_the_fingerprint_depends_on_names_shapes_dtypes_and_bits_and_on_nothing_else():
    weights = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(2, np.float32)}
    changed = weights["a"].copy()
    changed[0, 0] = np.nextafter(np.float32(0), np.float32(1))
    others = [
        {"a": weights["a"]},
        {**weights, "b": weights["b"].astype(np.float64)},
        {**weights, "a": changed},
        {**weights, "a": weights["a"].reshape(3, 2)},
        {"c": weights["a"], "b": weights["b"]},
        {"a": weights["a"], "b": -weights["b"]},
    ]
    prints = {weights_sha256(tensors) for tensors in [weights, *others]}
    assert len(prints) == 7
    assert all(len(one) == 64 for one in prints)
    assert weights_sha256({"b": weights["b"], "a": np.asfortranarray(weights["a"])}) == weights_sha256(weights)
