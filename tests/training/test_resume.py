"""A training that is interrupted goes on where it was, and ends with the same weights bit for bit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from manifoldscope.errors import StudyError
from manifoldscope.training import OBJECTIVES, fit, saving, state
from manifoldscope.training.saving import STATE, Saver, Saving, epoch_file, kept_epochs
from manifoldscope.vision.datasets import images
from manifoldscope.vision.defences import Gabor, NoiseVote
from manifoldscope.vision.network import Network, seeded
from manifoldscope.vision.preprocessing import Preprocessing

EPOCHS, BATCH, PER_EPOCH = 3, 20, 5
N_STEPS = EPOCHS * PER_EPOCH


class StoppedError(Exception):
    """What the tests raise in the middle of a training."""


def dropout():
    with seeded(0, "weights"):
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10))
    return Network(module, preprocessing=Preprocessing(channels=1))


def normalised():
    with seeded(0, "weights"):
        module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    return Network(module, preprocessing=Preprocessing(channels=1))


def voting():
    return NoiseVote(votes=2, std=0.1).around(normalised())


WAYS = {
    "dropout": (dropout, "standard", {}),
    "augmented": (dropout, "standard", {"augment": "shift_flip", "optimiser": "sgd", "weight_decay": 1e-3}),
    "batch norm": (normalised, "standard", {}),
    "adversarial": (normalised, "adversarial", {"epsilon": 0.1, "steps": 2}),
    "trades": (normalised, "trades", {"epsilon": 0.1, "steps": 2, "optimiser": "sgd", "augment": "shift_flip"}),
    "smoothed labels": (dropout, "label_smoothing", {"weight_decay": 1e-3}),
    "noise behind a vote": (voting, "input_noise", {"std": 0.1, "optimiser": "sgd"}),
    "manifold mixup behind a vote": (voting, "manifold_mixup", {"augment": "shift_flip"}),
    "shaped": (dropout, "participation_ratio", {"strength": 0.05, "augment": "shift_flip"}),
}


def train(way, folder=None, *, every=0, **changes):
    """Train in one of the ways; the weights and the history, without what a clock says."""
    make, name, settings = WAYS[way]
    kinds = OBJECTIVES[name].settings.model_fields
    objective = OBJECTIVES[name].target(**{key: value for key, value in settings.items() if key in kinds})
    made = make()
    history = fit(
        made,
        images("digits", images_per_class=10),
        objective,
        epochs=EPOCHS,
        batch_size=BATCH,
        saving=None if folder is None else Saving(folder=folder, seconds=0, every=every),
        **{key: value for key, value in settings.items() if key not in kinds} | changes,
    )
    told = [{name: value for name, value in vars(epoch).items() if name != "seconds"} for epoch in history]
    assert all(epoch.seconds > 0 for epoch in history)
    return state(made), told


def stop_at(step):
    def on_progress(share):
        if round(share * N_STEPS) == step:
            raise StoppedError

    return on_progress


def same(found, expected):
    weights = all(torch.equal(found[0][name], value) for name, value in expected[0].items())
    return weights and found[0].keys() == expected[0].keys() and found[1] == expected[1]


@pytest.fixture
def each_step(monkeypatch):
    """The state is saved after each step, whatever that costs."""
    monkeypatch.setattr(saving, "SHARE", float("inf"))


@pytest.mark.usefixtures("each_step")
@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_training_ends_as_one_that_was_not(way, tmp_path):
    before = torch.random.get_rng_state()
    expected = train(way)
    for step in (1, 4, 5, 12, N_STEPS):
        with pytest.raises(StoppedError):
            train(way, tmp_path, on_progress=stop_at(step))
        torch.rand(3)  # what others draw must not matter
    assert same(train(way, tmp_path), expected)
    torch.random.set_rng_state(before)


@pytest.mark.usefixtures("each_step")
def test_steps_after_the_last_saving_are_made_again(tmp_path, monkeypatch):
    real = Saver.save_if_due
    monkeypatch.setattr(Saver, "save_if_due", lambda self, at: real(self, at) if at.done % 4 == 0 else None)
    for step in (3, 7, 11):
        with pytest.raises(StoppedError):
            train("augmented", tmp_path, on_progress=stop_at(step))
    began = []
    found = train("augmented", tmp_path, on_progress=began.append)
    assert round(began[0] * N_STEPS) == 9
    assert same(found, train("augmented"))


KILLED = """
import os, signal, sys, threading
from pathlib import Path
import torch
torch.set_num_threads(1)
from safetensors.torch import save_file
from manifoldscope.training import saving
from tests.training.test_resume import WAYS, train
saving.SHARE = float("inf")
folder, left, delay = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])

def on_progress(share):
    global left
    left -= 1
    if left == 0:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()

for way in WAYS:
    if not (folder / f"{way}.safetensors").exists():
        weights, _ = train(way, folder / way, every=2, on_progress=on_progress)
        save_file(weights, folder / f"{way}.safetensors")
"""


def test_a_killed_training_ends_as_one_that_was_not(tmp_path, request):
    def run(left, delay=0.0):
        command = [sys.executable, "-c", KILLED, str(tmp_path), str(left), str(delay)]
        return subprocess.run(command, cwd=request.config.rootpath, check=False).returncode

    drawn = random.Random(0)
    for left in (8, 16, 24):  # steps, of 60: in the first way, the second and the last
        assert run(left, drawn.uniform(0, 0.005)) == -signal.SIGKILL
    assert run(1000) == 0
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for way in WAYS:
        expected, _ = train(way)
        found = load_file(tmp_path / f"{way}.safetensors")
        assert all(torch.equal(found[name], value) for name, value in expected.items()), way
        last = load_file(tmp_path / way / epoch_file(EPOCHS))
        assert all(torch.equal(last[name], value) for name, value in expected.items()), way
    torch.set_num_threads(n_threads)


@pytest.mark.usefixtures("each_step")
def test_weights_after_epochs_are_kept_and_a_state_without_them_is_not_believed(tmp_path):
    first = state(dropout())
    expected = train("dropout", tmp_path / "whole", every=2)
    assert kept_epochs(EPOCHS, 2) == (0, 2, 3)
    assert {path.name for path in (tmp_path / "whole").glob("epoch*")} == {epoch_file(epoch) for epoch in (0, 2, 3)}
    for epoch, weights in ((0, first), (3, expected[0])):
        kept = load_file(tmp_path / "whole" / epoch_file(epoch))
        assert all(torch.equal(kept[name], value) for name, value in weights.items())
    with pytest.raises(StoppedError):
        train("dropout", tmp_path / "cut", every=2, on_progress=stop_at(12))
    (tmp_path / "cut" / epoch_file(2)).unlink()
    with pytest.warns(UserWarning, match=r"epoch-2.safetensors is not beside it .* the training starts anew"):
        found = train("dropout", tmp_path / "cut", every=2)
    assert same(found, expected)
    assert (tmp_path / "cut" / epoch_file(2)).read_bytes() == (tmp_path / "whole" / epoch_file(2)).read_bytes()


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "SHARE", float("inf"))
        with pytest.raises(StoppedError):
            train("dropout", folder, on_progress=stop_at(8))
    return (folder / STATE).read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"learning_rate": 1e-3},
        {"weight_decay": 0.1},
        {"optimiser": "sgd"},
        {"augment": "shift_flip"},
        {"every": 1},
    ],
    ids=str,
)
def test_the_state_of_another_training_is_not_used(changes, interrupted, tmp_path):
    (tmp_path / STATE).write_bytes(interrupted)
    with pytest.warns(UserWarning, match=rf"it is of a training with another {next(iter(changes))}\)"):
        found = train("dropout", tmp_path, **changes)
    assert same(found, train("dropout", **{key: value for key, value in changes.items() if key != "every"}))


def test_the_state_that_another_version_of_torch_saved_is_not_used(interrupted, tmp_path, monkeypatch):
    (tmp_path / STATE).write_bytes(interrupted)
    monkeypatch.setattr(torch, "__version__", "1.0")
    with pytest.warns(UserWarning, match="with another version of torch"):
        train("dropout", tmp_path)


def other(rate=0.5, activation=nn.ReLU, trains=True):
    """As `dropout`, with the same first weights."""
    made = dropout()
    made.module[2], made.module[3] = activation(), nn.Dropout(rate)
    made.module[1].requires_grad_(trains)
    return made


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rate": 0.1}, "network"),
        ({"activation": nn.Tanh}, "network"),
        ({"trains": False}, "choice of what is trained"),
    ],
)
def test_the_state_of_another_network_of_the_same_weights_is_not_used(
    changes, named, interrupted, tmp_path, monkeypatch
):
    monkeypatch.setitem(WAYS, "other", (lambda: other(**changes), "standard", {}))
    (tmp_path / STATE).write_bytes(interrupted)
    with pytest.warns(UserWarning, match=rf"it is of a training with another {named}\)"):
        found = train("other", tmp_path)
    assert same(found, train("other"))


@pytest.mark.usefixtures("each_step")
@pytest.mark.parametrize(
    ("defence", "changed", "named"),
    [
        (NoiseVote(std=0.1), NoiseVote(std=0.5), "first weights"),
        (NoiseVote(seed=0), NoiseVote(seed=1), "network"),
        (Gabor(width=0.4), Gabor(width=0.41), "first weights"),
    ],
)
def test_the_state_of_another_defence_of_the_same_weights_is_not_used(defence, changed, named, tmp_path, monkeypatch):
    for way, made in (("one", defence), ("another", changed)):
        monkeypatch.setitem(WAYS, way, (lambda made=made: made.around(dropout()), "standard", {}))
    with pytest.raises(StoppedError):
        train("one", tmp_path, on_progress=stop_at(8))
    with pytest.warns(UserWarning, match=rf"it is of a training with another {named}\)"):
        found = train("another", tmp_path)
    assert same(found, train("another"))


@pytest.mark.usefixtures("each_step")
def test_the_address_of_a_function_that_a_module_shows_does_not_matter(tmp_path, monkeypatch):
    class Shown(nn.ReLU):
        def __init__(self):
            super().__init__()
            self.function = lambda x: x

        def extra_repr(self):
            return str(self.function)

    monkeypatch.setitem(WAYS, "shown", (lambda: other(activation=Shown), "standard", {}))
    kept = Shown()  # of another address than the next
    with pytest.raises(StoppedError):
        train("shown", tmp_path, on_progress=stop_at(4))
    began = []
    train("shown", tmp_path, on_progress=began.append)
    assert (round(began[0] * N_STEPS), kept.inplace) == (5, False)


def forged(content, change):
    """The state with something else in it, and a digest that fits."""
    tensors, metadata = saving.safetensors_content(content)
    told = json.loads(json.loads(metadata["state"])["told"])
    change(told, tensors)
    text = json.dumps(told)
    return tensors, {"state": json.dumps({"told": text, "digest": saving._digest(text, tensors)})}


FORGERIES = {
    "steps": lambda told, tensors: told.update(done=N_STEPS + 1),
    "steps as text": lambda told, tensors: told.update(done="8"),
    "history": lambda told, tensors: told.update(history=[]),
    "rows of history": lambda told, tensors: told.update(history=[{"epoch": 1}]),
    "a loss in words": lambda told, tensors: told["history"][0].update(loss="low"),
    "seconds": lambda told, tensors: told.update(seconds=float("nan")),
    "no identity": lambda told, tensors: told.pop("identity"),
    "order": lambda told, tensors: tensors.update(order=tensors["order"] + 100),
    "no order": lambda told, tensors: tensors.pop("order"),
    "weights": lambda told, tensors: tensors.update({"module/1.weight": torch.zeros(3)}),
    "type of weights": lambda told, tensors: tensors.update(
        {"module/1.weight": tensors["module/1.weight"].to(torch.float64)}
    ),
    "no moments": lambda told, tensors: tensors.pop("optimiser/0/exp_avg"),
    "moments": lambda told, tensors: tensors.update({"optimiser/0/exp_avg": torch.zeros(3)}),
    "moments of nothing": lambda told, tensors: tensors.update({"optimiser/-1/step": torch.zeros(())}),
    "a stranger's name": lambda told, tensors: tensors.update({"optimiser/x": torch.zeros(())}),
    "random numbers": lambda told, tensors: tensors.update(
        {"random/order": torch.full_like(tensors["random/order"], 255)}
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_hostile_state_is_not_used(forgery, interrupted, tmp_path):
    save_file(*_swapped(forged(interrupted, FORGERIES[forgery]), tmp_path / STATE))
    with pytest.warns(UserWarning, match="is not the state of this training"):
        found = train("dropout", tmp_path)
    assert same(found, train("dropout"))


def _swapped(content, path):
    tensors, metadata = content
    return {name: value.clone() for name, value in tensors.items()}, path, metadata


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"\x80\x04N." * 50,
    ],
    ids=["empty", "head alone", "truncated", "a bit flipped", "a pickle"],
)
def test_a_damaged_state_is_not_used(damage, interrupted, tmp_path):
    (tmp_path / STATE).write_bytes(damage(interrupted))
    with pytest.warns(UserWarning, match="is not the state of this training"):
        found = train("dropout", tmp_path)
    assert same(found, train("dropout"))


def test_a_state_that_is_too_large_or_no_file_is_not_read(interrupted, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "ROOM", 0)
    (tmp_path / STATE).write_bytes(interrupted + bytes(100_000))
    with pytest.warns(UserWarning, match="larger than"):
        train("dropout", tmp_path)
    (tmp_path / "two" / STATE).mkdir(parents=True)
    with pytest.warns(UserWarning, match="cannot be saved"), pytest.warns(UserWarning, match="it is a folder"):
        train("dropout", tmp_path / "two")


@pytest.mark.parametrize("name", [f"{STATE}.draft", "lock"])
def test_a_link_in_the_place_of_a_draft_or_a_lock_is_not_followed(name, tmp_path, each_step):
    (tmp_path / "mine.txt").write_text("mine")
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / name).symlink_to(tmp_path / "mine.txt")
    train("dropout", folder)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert not (folder / STATE).is_symlink()


def test_a_state_that_cannot_be_saved_costs_no_training(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "save_file", full)
    with pytest.warns(UserWarning, match=r"cannot be saved in .* \(no space left on device\)"):
        found = train("dropout", tmp_path)
    assert same(found, train("dropout"))


def test_weights_that_cannot_be_kept_end_the_training_in_a_sentence_and_it_goes_on_when_there_is_room(
    tmp_path, monkeypatch, each_step
):
    real = saving.save_file

    def full(tensors, draft, metadata):
        if draft.name.startswith(epoch_file(2)):
            raise OSError(28, "No space left on device")
        real(tensors, draft, metadata)

    monkeypatch.setattr(saving, "save_file", full)
    with pytest.raises(StudyError, match=r"epoch 2 cannot be kept as .*-2.safetensors \(no space left on device\)"):
        train("dropout", tmp_path, every=1)
    monkeypatch.setattr(saving, "save_file", real)
    began = []
    assert same(train("dropout", tmp_path, every=1, on_progress=began.append), train("dropout"))
    assert round(began[0] * N_STEPS) == 2 * PER_EPOCH


def test_a_folder_in_which_another_training_saves_is_refused_until_that_ends(tmp_path):
    told = []

    def another(share):
        if not told:
            told.append(share)
            with pytest.raises(StudyError, match=r"another training saves in .*; wait until it ends"):
                train("dropout", tmp_path)

    found = train("dropout", tmp_path, on_progress=another)
    assert same(found, train("dropout", tmp_path))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StudyError, match=r"cannot be saved in .*mine.txt \(file exists\); give a folder"):
        train("dropout", tmp_path / "mine.txt")


@pytest.mark.usefixtures("each_step")
def test_a_constant_that_shares_its_memory_is_no_obstacle(tmp_path, monkeypatch):
    def expanded():
        made = dropout()
        made.module.register_buffer("places", torch.arange(4).expand(3, 4))
        return made

    monkeypatch.setitem(WAYS, "dropout", (expanded, *WAYS["dropout"][1:]))
    with pytest.raises(StoppedError):
        train("dropout", tmp_path, on_progress=stop_at(4))
    assert same(train("dropout", tmp_path), train("dropout"))


def test_saving_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(saving.time, "monotonic", lambda: float(next(clock)))
    times = []
    real = saving._write
    monkeypatch.setattr(saving, "_write", lambda *arguments: (times.append(1), real(*arguments)))
    train("dropout", tmp_path)
    assert len(times) <= 1  # a saving takes a second by this clock, and so does all else
