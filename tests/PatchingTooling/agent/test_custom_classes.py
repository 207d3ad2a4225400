"""Custom classes: named and refused, allowed by name or by the user's own copy, recorded, never run from the zip."""

from __future__ import annotations

import importlib.util
import json
import py_compile
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from torch import nn

import activation_extraction
import activation_patching
from Neuron_Selection import inspect_agent
from Neuron_Selection.errors import InputError, UntrustedError, UsageError
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.PatchingTooling import PatchingExperiment
from tests import extractors
from tests.conftest import ROOT
from tests.made_agents import data_fields, mlp_agent, mlp_state, new_dqn, save_dqn, serialized, vector_space, write_zip
from tests.raised import Parts, parts, raises

IMAGE = spaces.Box(0, 255, (3, 7, 7), np.uint8)
FILE = ROOT / "tests" / "extractors.py"
BY_FILE = f"{FILE}:MinigridFeaturesExtractor"
BY_NAME = "tests.extractors.MinigridFeaturesExtractor"


def by_value(cls: type, monkeypatch: pytest.MonkeyPatch) -> type:
    """The class as if it had been defined in the script that saved the agent."""
    monkeypatch.setattr(cls, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], cls.__name__, cls, raising=False)
    return cls


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 7, 7), dtype=np.uint8)


def cnn_agent(folder: Path, **kwargs: Any) -> tuple[Path, DQN]:
    kwargs = {"features_extractor_kwargs": {"features_dim": 16}, "net_arch": [8], **kwargs}
    model = new_dqn(IMAGE, policy="CnnPolicy", features_extractor_class=extractors.MinigridFeaturesExtractor, **kwargs)
    return save_dqn(folder, model), model


def sb3_answer(model: DQN, observations: Any) -> np.ndarray:
    rows = np.minimum(np.arange(64), len(observations) - 1)
    with torch.no_grad():
        return model.q_net(model.policy.obs_to_tensor(observations[rows])[0]).numpy()[: len(observations)]


def test_a_class_by_reference_is_refused_and_then_trusted_by_name(tmp_path: Path) -> None:
    folder, model = cnn_agent(tmp_path)
    field, found = "policy_kwargs.features_extractor_class", f"the custom class '{BY_NAME}'"
    hint = f"--trust {BY_NAME} imports it"
    with raises(UntrustedError, file="agent.zip: data", field=field, found=found, expected=..., hint=hint):
        PatchingExperiment(folder)
    experiment = PatchingExperiment(folder, trust=BY_NAME)
    assert np.array_equal(experiment.q_values(images()), sb3_answer(model, images()))
    assert [layer for layer in experiment.layers() if layer.startswith("features")] == [
        f"features_extractor.{name}" for name in ("cnn.0", "cnn.1", "cnn.2", "cnn.3", "cnn.4", "linear.0", "linear.1")
    ]


def test_a_class_by_value_is_replaced_by_the_users_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_value(extractors.MinigridFeaturesExtractor, monkeypatch)
    folder, model = cnn_agent(tmp_path)
    monkeypatch.undo()
    with raises(
        UntrustedError,
        file="agent.zip: data",
        field="policy_kwargs.features_extractor_class",
        found="the class 'MinigridFeaturesExtractor', whose code is stored in the zip",
        expected="one of FlattenExtractor, NatureCNN, CombinedExtractor",
        hint="--features_extractor FILE.py:MinigridFeaturesExtractor uses your own copy",
    ):
        PatchingExperiment(folder)
    with pytest.raises(UntrustedError):
        PatchingExperiment(folder, trust=BY_NAME)
    for copy in (BY_FILE, extractors.MinigridFeaturesExtractor):
        assert np.array_equal(
            PatchingExperiment(folder, features_extractor=copy).q_values(images()), sb3_answer(model, images())
        )


def test_classes_among_the_arguments_of_an_extractor(tmp_path: Path) -> None:
    own = {"features_dim": 16, "activation": extractors.Swish}
    torchs = {"features_dim": 16, "activation": nn.Tanh}
    folder, model = cnn_agent(tmp_path / "torch", features_extractor_kwargs=torchs)
    assert np.array_equal(PatchingExperiment(folder, trust=BY_NAME).q_values(images()), sb3_answer(model, images()))
    folder, model = cnn_agent(tmp_path / "own", features_extractor_kwargs=own)
    with raises(
        UntrustedError,
        file="agent.zip: data",
        field="policy_kwargs.an argument",
        found="the custom class 'tests.extractors.Swish'",
        expected="plain values and torch.nn's classes",
    ):
        PatchingExperiment(folder, trust=BY_NAME)
    trusting = PatchingExperiment(folder, trust=[BY_NAME, "tests.extractors.Swish"])
    assert np.array_equal(trusting.q_values(images()), sb3_answer(model, images()))


@pytest.mark.parametrize("how", [{"trust": "tests.extractors.Swish"}, {"activation_fn": f"{FILE}:Swish"}])
def test_a_custom_activation_function(how: dict[str, Any], tmp_path: Path) -> None:
    model = new_dqn(vector_space(4), net_arch=[8], activation_fn=extractors.Swish)
    folder = save_dqn(tmp_path, model)
    with raises(
        UntrustedError,
        file="agent.zip: data",
        field="policy_kwargs.activation_fn",
        found="the custom class 'tests.extractors.Swish'",
        expected="an activation of torch.nn that keeps the width, such as ReLU",
    ):
        PatchingExperiment(folder)
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    experiment = PatchingExperiment(folder, **how)
    assert np.array_equal(experiment.q_values(rows), sb3_answer(model, rows))
    assert experiment.layers()["q_net.1"].role == "post-activation"
    assert experiment.layers()["q_net.1"].is_default


def test_a_custom_policy_with_an_argument_of_its_own(tmp_path: Path) -> None:
    model = new_dqn(vector_space(4), policy=extractors.QuietPolicy, net_arch=[8], loudness=3)
    folder = save_dqn(tmp_path, model)
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    with raises(
        UntrustedError,
        file="agent.zip: data",
        field="policy_class",
        found="the custom class 'tests.extractors.QuietPolicy'",
        expected=re.compile("a policy of DQN, .*"),
    ):
        PatchingExperiment(folder)
    experiment = PatchingExperiment(folder, trust="tests.extractors.QuietPolicy")
    assert np.array_equal(experiment.q_values(rows), sb3_answer(model, rows))
    assert experiment.torch_network.policy.loudness == 3


def test_published_inputs_run_through_an_agent_of_the_published_form(published_files: Path, tmp_path: Path) -> None:
    space = spaces.Dict({"MLP_input": spaces.Box(0, 1, (106,), np.float32)})
    model = new_dqn(space, policy="MultiInputPolicy", n_actions=5, net_arch=[64, 64],
                    features_extractor_class=extractors.MlpOfDict)  # fmt: skip
    folder = save_dqn(tmp_path, model)
    (folder / "activation_inputs").mkdir()
    for name in ("clean", "corrupted"):
        content = (published_files / f"v6_{name}_inputs.json").read_bytes()
        (folder / "activation_inputs" / f"{name}_inputs.json").write_bytes(content)
    flags = ["--agent_path", str(folder), "--trust", "tests.extractors.MlpOfDict", "--quiet"]
    assert activation_extraction.main(flags) == 0
    spec = "features_extractor.mlp.0:3,4,5;q_net.0:1,2"
    words = ["--target_input", "corrupted_inputs.json", "--source_activations", "clean_activations.npz"]
    assert activation_patching.main([*flags, *words, "--patch_spec", spec]) == 0
    results = json.loads((folder / "patching_results" / "patching.json").read_text())
    inputs = json.loads((published_files / "v6_corrupted_inputs.json").read_text())
    assert list(results) == list(inputs)
    rows = np.array([entry["input"] for entry in inputs.values()], np.float32)
    with torch.no_grad():
        padded = torch.from_numpy(rows[np.minimum(np.arange(64), len(rows) - 1)])
        expected = model.q_net({"MLP_input": padded}).numpy()[: len(rows)]
    assert [record["baseline_output"][0] for record in results.values()] == expected.tolist()
    readable = json.loads((folder / "activation_logging" / "clean_activations_readable.json").read_text())
    published = json.loads((published_files / "v6_corrupted_activations_readable.json").read_text())
    widths = {layer: np.shape(values) for layer, values in next(iter(published.values())).items() if "q_net" in layer}
    ours = next(iter(readable.values()))
    assert {layer: np.shape(ours[layer]) for layer in widths} == widths


def test_the_classes_that_were_allowed_are_recorded_in_every_output(tmp_path: Path) -> None:
    folder, _ = cnn_agent(tmp_path)
    (folder / "activation_inputs").mkdir()
    inputs = {str(number): image.tolist() for number, image in enumerate(images())}
    (folder / "activation_inputs" / "clean_inputs.json").write_text(json.dumps(inputs))
    flags = ["--agent_path", str(folder), "--features_extractor", BY_FILE, "--quiet"]
    assert activation_extraction.main(flags) == 0
    with np.load(folder / "activation_logging" / "clean_activations.npz") as stored:
        metadata = json.loads(stored["__metadata__"].tobytes())
    recorded = metadata["run"]["custom_classes"]["features_extractor"]
    assert recorded["class"] == "MinigridFeaturesExtractor"
    assert recorded["file"] == "extractors.py"
    assert len(recorded["sha256"]) == 64
    results = PatchingExperiment(folder, trust=BY_NAME).run_patching_experiment(
        inputs, PatchingExperiment(folder, trust=BY_NAME).activations(inputs), "features_extractor.cnn.2:1"
    )
    assert results.metadata["run"]["custom_classes"] == {"trust": [BY_NAME]}


@pytest.mark.parametrize(
    "how",
    [
        {"trust": "os.system"},
        {"features_extractor": BY_FILE},
        {"activation_fn": f"{FILE}:Swish"},
        {"policy": f"{FILE}:QuietPolicy"},
    ],
)
def test_a_permission_without_use_is_an_error(how: dict[str, Any], tmp_path: Path) -> None:
    ((name, value),) = how.items()
    with raises(InputError, file="agent.zip: data", flags=[f"--{name}"], names=[value]):
        PatchingExperiment(mlp_agent(tmp_path), **how)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (
            f"{FILE}:NoExtractor",
            parts(
                field=f"{FILE}:NoExtractor",
                found="a class that is not a BaseFeaturesExtractor",
                expected="a subclass of BaseFeaturesExtractor",
            ),
        ),
        (f"{FILE}:Missing", parts(field=f"{FILE}:Missing", problem="the module has no 'Missing'")),
        (f"{FILE}:by_value", parts(field=f"{FILE}:by_value", problem="the module has no 'by_value'")),
        ("no_such_file.py:Class", parts(file="no_such_file.py", problem="no such file")),
        ("extractors.py", parts(field="custom class", found="'extractors.py'", expected="FILE.py:Class")),
        ("broken.py:Class", parts(field="broken.py", names=["(ZeroDivisionError: division by zero)"])),
        ("script.py:Class", parts(field="script.py", names=["(SystemExit: 3)"])),
        (
            "needy.py:Class",
            parts(field="needy.py", names=["(ModuleNotFoundError: No module named 'no_such')", "install no_such "]),
        ),
    ],
)
def test_a_class_that_cannot_be_loaded_is_an_error_the_user_can_fix(
    source: str, error: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = cnn_agent(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "script.py").write_text("raise SystemExit(3)")
    (tmp_path / "needy.py").write_text("import no_such")
    with raises(InputError if "file" in error else UsageError, **error):
        PatchingExperiment(folder, features_extractor=source).q_values(images())


EXTRACTOR = "a subclass of BaseFeaturesExtractor"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("os.system", parts(found="a builtin_function_or_method", expected=EXTRACTOR)),
        ("no_such_module.Class", parts(names=["install no_such_module "])),
        ("collections.OrderedDict", parts(found="a class that is not a BaseFeaturesExtractor", expected=EXTRACTOR)),
    ],
)
def test_trusting_what_is_no_features_extractor_is_an_error(name: str, error: Parts, tmp_path: Path) -> None:
    module, _, qualname = name.rpartition(".")
    reference = f"\x80\x04}}\x8c\x18features_extractor_classc{module}\n{qualname}\ns.".encode("latin-1")
    path = write_zip(
        tmp_path / "agent.zip", data=data_fields(policy_kwargs=serialized(reference)), policy=mlp_state(hidden=(64, 64))
    )
    with raises(UsageError, field=name, **error):
        PatchingExperiment(path, trust=name).q_values(np.zeros((1, 4), np.float32))


def test_a_copy_that_does_not_fit_the_weights_is_an_error(tmp_path: Path) -> None:
    folder, _ = cnn_agent(tmp_path)
    other = tmp_path / "other.py"
    other.write_text(FILE.read_text().replace("nn.Conv2d(4, 6, (2, 2))", "nn.Conv2d(4, 7, (2, 2))"))
    with raises(
        InputError,
        file="agent.zip: policy.pth",
        field="q_net.features_extractor.cnn.2.weight",
        found="shape (6, 4, 2, 2)",
        expected="(7, 4, 2, 2)",
    ):
        PatchingExperiment(folder, features_extractor=f"{other}:MinigridFeaturesExtractor").q_values(images())


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("features_dim: int = 32", "width: int = 32, *, features_dim2: int = 1", "TypeError"),
        ("nn.Conv2d(observation_space.shape[0]", "nn.Conv2d(observation_space.shape[3]", "IndexError"),
        ("nn.Conv2d(observation_space.shape[0]", "nn.Conv2d(1 // 0", "ZeroDivisionError"),
    ],
)
def test_arguments_that_the_class_does_not_take_are_an_error(old: str, new: str, kind: str, tmp_path: Path) -> None:
    folder, _ = cnn_agent(tmp_path)
    other = tmp_path / "other.py"
    other.write_text(FILE.read_text().replace(old, new, 1))
    found = re.compile(rf"arguments that it does not take \({kind}: .*\)")
    with raises(InputError, file="agent.zip: data", field="policy_kwargs", found=found, expected="a network"):
        PatchingExperiment(folder, features_extractor=f"{other}:MinigridFeaturesExtractor").q_values(images())


def test_inspecting_names_a_custom_class_and_the_flag_that_allows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = cnn_agent(tmp_path)
    assert inspect_agent.main([str(folder)]) == 0
    reported = capsys.readouterr().out
    assert "does not load: " in reported
    assert f"data: policy_kwargs.features_extractor_class: found the custom class '{BY_NAME}'" in reported
    assert f"--trust {BY_NAME} imports it" in reported
    assert "q_net.features_extractor.cnn.0.weight [4, 3, 2, 2]" in reported
    assert inspect_agent.main([str(folder), "--trust", BY_NAME, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["layers"]["features_extractor.cnn.0"] == {
        "kind": "Conv2d", "role": "pre-activation", "neurons": 4, "shape": [4, 6, 6],
    }  # fmt: skip
    assert document["pickled_names"]["policy_kwargs"] == [BY_NAME]
    assert document["policy"]["features_extractor"] == BY_NAME


def test_a_file_runs_as_it_was_hashed_whatever_is_in_the_cache_next_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_value(extractors.MinigridFeaturesExtractor, monkeypatch)
    folder, model = cnn_agent(tmp_path / "agent")
    monkeypatch.undo()
    copy = tmp_path / "own.py"
    shutil.copy(FILE, copy)
    cached = Path(importlib.util.cache_from_source(str(copy)))
    cached.parent.mkdir()
    planted = tmp_path / "planted.py"
    planted.write_text(FILE.read_text() + f"\nopen({str(tmp_path / 'ran')!r}, 'w')\n")
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(planted), str(cached), doraise=True, invalidation_mode=unchecked)
    planted_bytes = cached.read_bytes()

    experiment = PatchingExperiment(folder, features_extractor=f"{copy}:MinigridFeaturesExtractor")
    assert np.array_equal(experiment.q_values(images()), sb3_answer(model, images()))
    assert not (tmp_path / "ran").exists()
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]
    assert cached.read_bytes() == planted_bytes


def test_no_cache_is_written_next_to_the_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_value(extractors.MinigridFeaturesExtractor, monkeypatch)
    folder, _ = cnn_agent(tmp_path / "agent")
    monkeypatch.undo()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    copy = tmp_path / "own" / "classes.py"
    copy.parent.mkdir()
    shutil.copy(FILE, copy)
    PatchingExperiment(folder, features_extractor=f"{copy}:MinigridFeaturesExtractor").q_values(images())
    assert list(copy.parent.iterdir()) == [copy]


def test_the_hash_recorded_is_of_the_code_that_ran_even_if_the_file_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_value(extractors.MinigridFeaturesExtractor, monkeypatch)
    folder, _ = cnn_agent(tmp_path / "agent")
    monkeypatch.undo()
    copy = tmp_path / "own.py"
    shutil.copy(FILE, copy)
    experiment = PatchingExperiment(folder, features_extractor=f"{copy}:MinigridFeaturesExtractor")
    experiment.q_values(images())
    copy.write_text("raise SystemExit")
    assert experiment.custom_classes.described["features_extractor"]["sha256"] == sha256_of(FILE.read_bytes())
