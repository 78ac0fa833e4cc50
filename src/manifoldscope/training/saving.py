"""Saving a training as it goes: what it needs to go on bit for bit, and its weights after some of the epochs.

    FOLDER/state.safetensors      between two steps: weights, optimiser, random numbers, order of the epoch, history
    FOLDER/epoch-3.safetensors    the weights after the third epoch; epoch-0: before the first

Files are replaced by one rename each, and nothing is ever unpickled. A state that is damaged, or of another training,
is not believed: the training then starts anew, and says so.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from manifoldscope.errors import ModelError, StudyError
from manifoldscope.files import file_digest, read_bytes, why
from manifoldscope.settings import check_settings
from manifoldscope.training.history import Epoch
from manifoldscope.training.optimisers import STATE_OF
from manifoldscope.vision.checkpoints import safetensors_content
from manifoldscope.vision.network import not_dense

STATE = "state.safetensors"

SHARE = 0.02
"""Share of the time that saving may take: where the state is large or the disk slow, it is saved less often."""

ROOM = 2**28
"""Bytes of a state beside weights and moments, at most: a larger file is not read."""

FORMAT = 1
"""Of the state; raise it when the loop comes to go on in another way."""


@dataclass(frozen=True, kw_only=True)
class Saving:
    """Where a training saves what it needs to go on, and its weights after some of the epochs.

    One training at a time may use a folder; another is refused. It may be removed at any moment at which none does;
    nothing is lost but the work so far.

    Attributes:
        folder: where, as a path or its text; it is made if it is not there.
        seconds: between two savings, at least.
        every: after each that many epochs the weights are kept, beside those before the first and after the last; 0:
            none are.
    """

    folder: Path
    seconds: float = 30.0
    every: int = 0

    def __post_init__(self) -> None:
        check_settings(StudyError, self)
        if not isinstance(self.folder, str | os.PathLike):
            raise StudyError(f"folder = {self.folder!r}; expected the path of a folder")
        if not self.seconds >= 0 or self.every < 0:
            raise StudyError(f"seconds = {self.seconds}, every = {self.every}; expected numbers that are not negative")
        object.__setattr__(self, "folder", Path(self.folder))
        object.__setattr__(self, "every", int(self.every))


def kept_epochs(epochs: int, every: int) -> tuple[int, ...]:
    """After which epochs of a training weights are kept, 0 standing for those before the first.

    Example:
        >>> kept_epochs(5, 2), kept_epochs(5, 0)
        ((0, 2, 4, 5), ())
    """
    return tuple(sorted({*range(0, epochs, every), epochs})) if every else ()


def epoch_file(epoch: int) -> str:
    """The name of the file with the weights after an epoch."""
    return f"epoch-{epoch}.safetensors"


@dataclass
class Progress:
    """How far a training is, between two steps.

    Attributes:
        order: (n,) the images of the current epoch, in the order in which they are shown.
        total: sum of its losses so far, on the device of the network.
        done: steps so far, of all epochs.
        history: of the epochs that are over.
        seconds: that the steps of the current epoch took so far.
    """

    order: Tensor
    total: Tensor
    done: int = 0
    history: list[Epoch] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(eq=False)
class Saver:
    """Saves one training, and finds what an earlier process saved of it.

    Attributes:
        identity: the text of a JSON object that no other training shares: its network, settings, images, first weights.
        module, optimiser: what is trained, and by what.
        generators: that the loop draws from, by name; torch's global ones are saved too.
        n_images: to train on.
        n_steps, per_epoch: steps in all, and in an epoch.
    """

    saving: Saving
    identity: str
    module: nn.Module
    optimiser: torch.optim.Optimizer
    generators: Mapping[str, torch.Generator]
    n_images: int
    n_steps: int
    per_epoch: int

    def __post_init__(self) -> None:
        try:
            self.saving.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(
                f"the training cannot be saved in {self.saving.folder} ({why(error)}); give a folder that can be "
                "written into"
            ) from error
        path = self.saving.folder / "lock"
        self._lock = FileLock(path)
        try:
            if path.is_symlink():  # which would lead elsewhere
                path.unlink()
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StudyError(
                f"another training saves in {self.saving.folder}; wait until it ends, or give another folder"
            ) from None
        except (OSError, NotImplementedError):
            pass  # a full disk costs no training, and some disks know no locks
        self._epochs: dict[str, str] = {}
        self._saved, self._least = time.monotonic(), self.saving.seconds

    def close(self) -> None:
        """Let others save in the folder, and leave no lock behind."""
        if self._lock.is_locked:
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()

    # --- writing --------------------------------------------------------------------------------------------------

    def keep(self, epoch: int) -> None:
        """Keep the weights after an epoch, where they are asked for."""
        if epoch not in kept_epochs(self.n_steps // self.per_epoch, self.saving.every):
            return
        path = self.saving.folder / epoch_file(epoch)
        try:
            _write(path, _apart(tensors_of(self.module)), {})
            self._epochs[str(epoch)] = file_digest(path)
        except (OSError, SafetensorError) as error:
            raise StudyError(
                f"the weights after epoch {epoch} cannot be kept as {path} ({why(error)}); mend that and start "
                "the training again, which goes on where it was last saved, or keep those of fewer epochs"
            ) from error

    def save_if_due(self, at: Progress) -> None:
        """Save the state where enough time has passed since the last one."""
        began = time.monotonic()
        if began - self._saved < self._least:
            return
        told = {
            "format": FORMAT,
            "identity": self.identity,
            "done": at.done,
            "history": [asdict(epoch) for epoch in at.history],
            "seconds": at.seconds,
            "epochs": self._epochs,
        }
        beside = {"order": at.order, "total": at.total}
        tensors = _apart({**self._own(), **self._of_optimiser(), **self._of_generators(), **beside})
        text = json.dumps(told, sort_keys=True)
        state = json.dumps({"told": text, "digest": _digest(text, tensors)})
        try:
            _write(self.saving.folder / STATE, tensors, {"state": state})
        except (OSError, SafetensorError) as error:
            warnings.warn(
                f"the state of the training cannot be saved in {self.saving.folder} ({why(error)}); the training goes "
                "on, and if it were interrupted would go on from the last state that was saved, or else start anew",
                stacklevel=3,
            )
        self._saved = time.monotonic()
        self._least = max(self.saving.seconds, (self._saved - began) / SHARE)

    def _own(self) -> dict[str, Tensor]:
        """Every parameter and buffer, also those that no state dict has."""
        return {f"module/{name}": value for name, value in tensors_of(self.module, hidden=True).items()}

    def _of_optimiser(self) -> dict[str, Tensor]:
        states = self.optimiser.state_dict()["state"]
        return {
            f"optimiser/{place}/{name}": value
            for place, state in states.items()
            for name, value in state.items()
            if value is not None
        }

    def _of_generators(self) -> dict[str, Tensor]:
        states = {name: generator.get_state() for name, generator in self.generators.items()}
        return {f"random/{name}": state for name, state in {**states, **self._global_states()}.items()}

    def _global_states(self) -> dict[str, Tensor]:
        """Of the generators from which dropout draws."""
        states = {"global": torch.random.get_rng_state()}
        device = self._device
        return {**states, "cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states

    @property
    def _device(self) -> torch.device:
        return next((parameter.device for parameter in self.module.parameters()), torch.device("cpu"))

    # --- reading --------------------------------------------------------------------------------------------------

    def resumed(self, at: Progress) -> Progress:
        """The training as it was last saved, with modules, optimiser and generators put back; `at` if it was not."""
        path = self.saving.folder / STATE
        if not (path.exists() or path.is_symlink()):
            return at
        try:
            tensors, told = _read(path, at_most=4 * sum(value.nbytes for value in self._own().values()) + ROOM)
            if told["format"] != FORMAT or told["identity"] != self.identity:
                raise ValueError(f"it is of a training with another {_differing(told['identity'], self.identity)}")
            found = self._progress(tensors, told, at)
            put_back = self._checked(tensors)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, RecursionError) as error:
            warnings.warn(
                f"{path} is not the state of this training ({why(error)}), and is not used: the training starts anew",
                stacklevel=3,
            )
            return at
        put_back()
        self._epochs = dict(told["epochs"])
        return found

    def _progress(self, tensors: Mapping[str, Tensor], told: Mapping[str, Any], at: Progress) -> Progress:
        """How far it was. Raises an error of any kind where that cannot be."""
        done, seconds = told["done"], told["seconds"]
        history = [_epoch(row) for row in told["history"]]
        order, total = tensors["order"], tensors["total"]
        _like("order", order, at.order)
        _like("total", total, at.total)
        if not (
            type(done) is int
            and 0 < done <= self.n_steps
            and [epoch.epoch for epoch in history] == list(range(1, done // self.per_epoch + 1))
            and type(seconds) is float
            and 0 <= seconds < math.inf
            and 0 <= int(order.min()) <= int(order.max()) < self.n_images
        ):
            raise ValueError("it contradicts itself")
        asked = kept_epochs(self.n_steps // self.per_epoch, self.saving.every)
        for epoch in [each for each in asked if each <= len(history)]:
            kept = self.saving.folder / epoch_file(epoch)
            if not kept.exists() or file_digest(kept) != told["epochs"][str(epoch)]:
                raise ValueError(f"{kept.name} is not beside it as it was")
        return Progress(order, total.to(at.total.device), done, history, seconds)

    def _checked(self, tensors: Mapping[str, Tensor]) -> Callable[[], None]:
        """What puts everything back; nothing is changed before all of it was seen to fit."""
        own = self._own()
        for name, value in own.items():
            _like(name, tensors[name], value)
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser/"):
                _, place, what = name.split("/")
                _like(name, value, torch.zeros(()) if what == "step" else parameters[int(place)])
                states.setdefault(int(place), {})[what] = value
        slots = STATE_OF[type(self.optimiser)]
        if not all(0 <= place < len(parameters) and set(state) == slots for place, state in states.items()):
            raise ValueError("its optimiser is another")
        for name, state in self._of_generators().items():
            _like(name, tensors[name], state)
            if name != "random/cuda":
                torch.Generator().set_state(tensors[name])  # which refuses what is no state

        def put_back() -> None:
            with torch.no_grad():
                for name, value in own.items():
                    if not torch.equal(value, tensors[name].to(value.device)):  # expanded constants cannot be written
                        value.copy_(tensors[name])
            self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": states})
            for name, generator in self.generators.items():
                generator.set_state(tensors[f"random/{name}"])
            torch.random.set_rng_state(tensors["random/global"])
            if "random/cuda" in tensors:
                torch.cuda.set_rng_state(tensors["random/cuda"], self._device)

        return put_back


def _differing(found: str, expected: str) -> str:
    """Which parts of an identity differ. Raises an error of any kind where it is none."""
    theirs, ours = json.loads(found), json.loads(expected)
    return ", ".join(name for name in ours if theirs.get(name) != ours[name]) or "way to go on"


def _epoch(row: Mapping[str, Any]) -> Epoch:
    """An epoch of a history. Raises TypeError or ValueError where it is none."""
    if set(row) != {each.name for each in fields(Epoch)} or type(row["epoch"]) is not int:
        raise ValueError("its history is none")
    if not all(value is None or type(value) in (int, float) for value in row.values()):
        raise ValueError("its history is none")
    return Epoch(**row)


def _like(name: str, found: Tensor, expected: Tensor) -> None:
    """Raise ValueError where a tensor cannot take the place of another."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise ValueError(
            f"{name} has shape {tuple(found.shape)} and type {found.dtype}, where {tuple(expected.shape)} and "
            f"{expected.dtype} are expected"
        )


# --- files ------------------------------------------------------------------------------------------------------------


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU that share no memory, as safetensors wants them; copied only where they do."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in tensors.items():
        tensor = value.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return found


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of a text and of tensors with their names."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0")
        digest.update(_bytes(tensors[name]))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> Any:
    """What is in a tensor on the CPU, as hashing reads it, without a copy where it is contiguous."""
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy()


def tensors_of(module: nn.Module, *, hidden: bool = False) -> dict[str, Tensor]:
    """The parameters and buffers of a module under the names of its state dict.

    Args:
        hidden: also the buffers that no state dict has (`persistent=False`).

    Raises:
        ModelError: it keeps something else there, which no file of tensors can hold.
    """
    found = {**(dict(module.named_buffers()) if hidden else {}), **module.state_dict()}
    for name, value in found.items():
        kind = not_dense(value) if isinstance(value, Tensor) else type(value).__name__
        if kind:
            raise ModelError(
                f"{type(module).__name__} keeps {kind} in its state dict as {name!r}, which a file of weights cannot "
                "hold; train it without its get_extra_state, or register a dense buffer in its place"
            )
    return found


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of tensors with their names, types and shapes."""
    shapes = {name: [str(value.dtype), list(value.shape)] for name, value in tensors.items()}
    return _digest(json.dumps(shapes, sort_keys=True), {name: value.cpu() for name, value in tensors.items()})


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a file that replaces the one before by a rename, flushed to the disk."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)  # a link would lead elsewhere
    save_file(tensors, draft, metadata)
    for place in (draft, draft.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if place == draft:
            draft.replace(path)


def _read(path: Path, *, at_most: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a state and what it tells. Raises an error of any kind where it is none, or has changed."""
    tensors, metadata = safetensors_content(read_bytes(path, at_most=at_most))
    state = json.loads(metadata["state"])
    text = state["told"]
    if state["digest"] != _digest(text, tensors):
        raise ValueError("it has changed since it was written")
    told: dict[str, Any] = json.loads(text)
    return tensors, told
