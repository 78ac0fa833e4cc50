"""Weights from a file into a module: all that the module has, each of its shape and type, or none."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from manifoldscope import files
from manifoldscope.errors import ModelError
from manifoldscope.vision.checkpoints import AVERAGED_ENTRIES, read_checkpoint, state_dict_in
from manifoldscope.vision.naming import (
    BESIDE,
    DEPTH,
    best_prefix,
    misfits,
    missing_names,
    plain_names,
    shared_wrapper,
    tied,
)
from manifoldscope.vision.printable import printable


@dataclass(frozen=True, eq=False)
class Loaded:
    """The weights in a file.

    Attributes:
        tensors: by their names in the file (see `printable`), on the CPU; what tied parameters share is there under
            each of their names.
        digest: SHA-256 of exactly the bytes that the tensors were read from; empty where they are from no file.
        file: the name of that file, without its folder.
        entry: where in the file they stand, such as "state_dict"; empty where they are the whole of it.
        beside: other entries of the file that hold weights, such as their exponential moving average.
        extra_state: what modules keep beside tensors (`get_extra_state`), by name.
    """

    tensors: Mapping[str, Tensor]
    digest: str = ""
    entry: str = ""
    beside: Sequence[str] = ()
    file: str = ""
    extra_state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation, one value a channel or one for all, that stood as `names` beside the weights."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    names: tuple[str, str]


@dataclass(frozen=True)
class Fitted:
    """What was put into a module.

    Attributes:
        digest, entry: see `Loaded`.
        prefix: what stood before the names of the module's tensors, such as "model."; wrappers that leave their own
            names in between (`module`, `_orig_mod`) do not count.
        normalisation: that of the inputs, where the file has it and the module does not.
        notes: what was in the file and not taken, or is odd about the weights; each was also given as a warning.
    """

    digest: str
    entry: str = ""
    prefix: str = ""
    normalisation: Normalisation | None = None
    notes: tuple[str, ...] = ()


def load_weights(path: str | Path) -> Loaded:
    """The tensors of a weights file, and the digest of the bytes that they were read from.

    Understands safetensors, and PyTorch state dicts, which are read with `weights_only=True`: plain, or in a training
    checkpoint under a usual name (`state_dict`, `model`, `last`, ...). Where there is a moving average of the weights
    beside them (`state_dict_ema`, `model_ema`), the weights themselves are taken.

    Raises:
        ModelError: no such file, no tensors in it, several networks in it, tensors that are sparse, quantised or
            without values; or objects in it that only unpickling, which runs the file's own code, could restore.
    """
    checkpoint = read_checkpoint(path)
    entry, entries, beside = state_dict_in(checkpoint.content, checkpoint.name)
    tensors = {printable(str(name)): value.detach() for name, value in entries.items() if isinstance(value, Tensor)}
    for name, tensor in tensors.items():
        if kind := _unfit(tensor):
            raise ModelError(f"{checkpoint.name}: the tensor {name} is {kind}; expected plain tensors: save them dense")
    if quantised := next((printable(str(name)) for name in entries if str(name).endswith("_packed_params")), None):
        raise ModelError(
            f"{checkpoint.name} is of a quantised network ({quantised}); give the weights it was made from"
        )
    tensors |= {
        name: tensors[kept] for name, kept in checkpoint.metadata.items() if kept in tensors and name not in tensors
    }
    extra = {printable(str(name)): value for name, value in entries.items() if _is_extra(str(name))}
    return Loaded(tensors, checkpoint.digest, entry, beside, checkpoint.name, extra)


def fit(module: nn.Module, weights: Loaded | Mapping[str, Tensor] | str | Path, where: str) -> Fitted:
    """Put weights into a module, all of them or none.

    Its tensors are found by their names, also where a wrapper put a prefix before them, and with other things beside
    that prefix (an average's counter, the weights of a loss). Batch counters (`num_batches_tracked`) may be missing:
    evaluation does not use them. Half and double precision become that of the module.

    Args:
        weights: tensors by name, or the file that holds them.
        where: what the module is called in messages.

    Raises:
        ModelError: listing the tensors that are missing, unexpected, of another shape or of another type.
    """
    if isinstance(weights, (str, Path)):
        weights = load_weights(weights)
    loaded = weights if isinstance(weights, Loaded) else Loaded(weights)
    said = f"the weights of {loaded.file}" if loaded.file else "the weights"
    state = dict(module.state_dict())
    given = plain_names({**loaded.extra_state, **loaded.tensors})
    own = plain_names(state)
    prefix, rivals = best_prefix(own, given)
    if wrapped := shared_wrapper(own):  # the module may be wrapped where the file is not
        bare = {name.removeprefix(wrapped): value for name, value in own.items()}
        if missing_names(own, given, prefix) and not missing_names(bare, given, (found := best_prefix(bare, given))[0]):
            own, (prefix, rivals) = bare, found
    if rivals:
        raise ModelError(
            f"{loaded.file or 'the file'} holds several networks that fit {where} and differ, under "
            f"{', '.join(map(repr, rivals[:4]))}; save the one that is meant alone"
        )
    taken = {name: given[prefix + name] for name in own if prefix + name in given}
    used = {prefix + name for name in taken}
    rest = {name: value for name, value in given.items() if name not in used}
    normalisation = _normalisation(rest)
    known = normalisation.names if normalisation else ()
    unexpected = [
        name
        for name in rest
        if name.startswith(prefix) and name not in known and (prefix or name.partition(".")[0] not in BESIDE)
    ]
    _check(own, taken, unexpected, said, where)
    notes = _notes(loaded, given, own, prefix, rest, known) + _oddities(own, taken)
    try:
        names = dict(zip(own, state, strict=True))
        module.load_state_dict(_versioned(module, {names[name]: taken[name] for name in taken}), strict=False)
    except Exception as error:  # modules may have code of their own for this
        raise ModelError(f"{said} cannot be put into {where}: {' '.join(str(error).split())[:200]}") from error
    for note in notes:
        warnings.warn(f"{where}: {note}", stacklevel=2)
    return Fitted(loaded.digest, loaded.entry, prefix, normalisation, notes)


def file_digest(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Raises ModelError where the file cannot be read.
    """
    try:
        return files.file_digest(Path(path).expanduser())
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def _versioned(module: nn.Module, named: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with the versions that modules give their state dicts, without which some load nothing (MNASNet)."""
    versioned: Any = OrderedDict(named)
    versioned._metadata = getattr(module.state_dict(), "_metadata", {})
    return cast(Mapping[str, Any], versioned)


def _unfit(tensor: Tensor) -> str | None:
    """What makes a tensor one that has no plain values."""
    if tensor.is_meta:
        return "on the meta device, without values"
    if tensor.is_quantized or (tensor.dtype.itemsize < 2 and tensor.is_floating_point()):
        return f"quantised ({str(tensor.dtype).removeprefix('torch.')})"
    if tensor.layout is not torch.strided or tensor.is_nested:
        return f"sparse or nested ({str(tensor.layout).removeprefix('torch.')})"
    return None


def _is_extra(name: str) -> bool:
    return name.rpartition(".")[2] == "_extra_state"


# -- whether they fit --------------------------------------------------------------------------------------------------


def _check(own: Mapping[str, Any], taken: Mapping[str, Any], unexpected: Sequence[str], said: str, where: str) -> None:
    missing = missing_names(own, taken, "")
    misshaped = misfits(own, taken, "")
    shown = [f"{name} {tuple(taken[name].shape)} where {tuple(own[name].shape)} is expected" for name in misshaped]
    if missing or unexpected or misshaped:
        problems = [
            f"{len(found)} {what} ({_first(found)})"
            for what, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", shown))
            if found
        ]
        raise ModelError(
            f"{said} do not fit {where}, which has {len(own)} tensors: {'; '.join(problems)}. "
            + _likely(own, taken, missing, unexpected, misshaped)
        )
    mistyped = [
        f"{name} is {reason}" for name, value in own.items() if (reason := _type_problem(value, taken.get(name)))
    ]
    if mistyped:
        raise ModelError(
            f"{said} do not fit {where}: {len(mistyped)} of another type ({_first(mistyped)}). They may be "
            "quantised, or no weights; give those that were trained, in floating point"
        )
    contradictory = [
        (name, other)
        for name, other in tied(own)
        if name in taken and other in taken and not torch.equal(taken[name], taken[other])
    ]
    if contradictory:
        name, other = contradictory[0]
        raise ModelError(
            f"{said} do not fit {where}: {name} and {other} are one tensor there, and differ in the file. It is "
            "of a network that does not share them"
        )


def _likely(
    own: Mapping[str, Any],
    taken: Mapping[str, Any],
    missing: Sequence[str],
    unexpected: Sequence[str],
    misshaped: Sequence[str],
) -> str:
    """What weights that do not fit most likely are."""
    if misshaped and not missing and not unexpected:
        layers = {name.rpartition(".")[0] for name in misshaped}
        outputs = {(taken[name].shape[:1], own[name].shape[:1]) for name in misshaped}
        if len(layers) == 1 and len(outputs) == 1 and all(taken[n].shape[1:] == own[n].shape[1:] for n in misshaped):
            here, there = outputs.pop()
            if here and there:
                return (
                    f"They are of a network whose layer {layers.pop()} has {here[0]} outputs and not {there[0]}; give "
                    "the number of classes that it was trained for (n_classes, where the source has it)"
                )
    elif unexpected and not missing and not misshaped:
        return "They are of a larger network, or there is something beside it: save the network's own weights alone"
    elif missing and not unexpected and not misshaped and 2 * len(missing) < len(own):
        return "The file is incomplete, or of a smaller network"
    return "They are probably of another architecture"


def _type_problem(target: Any, given: Any) -> str | None:
    """Why a tensor cannot become one of the module's type without changing its meaning."""
    if not isinstance(target, Tensor) or not isinstance(given, Tensor):
        return None
    here, there = (str(tensor.dtype).removeprefix("torch.") for tensor in (given, target))
    if target.is_floating_point() or target.is_complex():
        fits = given.is_complex() if target.is_complex() else given.is_floating_point()
    else:  # counters and masks: whole numbers may have been saved in another type
        fits = not given.is_complex() and bool((given.to(target.dtype).to(given.dtype) == given).all())
    return None if fits else f"{here} where {there} is expected"


def _first(names: Sequence[str], n: int = 3) -> str:
    return ", ".join(name[:200] for name in names[:n]) + (", ..." if len(names) > n else "")


# -- what is said of them ----------------------------------------------------------------------------------------------

_NORMALISATIONS = (
    ("mean", "std"),
    ("mu", "sigma"),
    ("means", "sds"),
    ("means", "stds"),
    ("new_mean", "new_std"),
    ("_mean", "_std"),
    ("pixel_mean", "pixel_std"),
    ("image_mean", "image_std"),
    ("mean", "sigma"),
    ("mean", "sd"),
)
"""What wrappers that normalise call the two: RobustBench's, robustness's, timm's, advertorch's and others'."""


def _normalisation(rest: Mapping[str, Any]) -> Normalisation | None:
    """Mean and standard deviation of the inputs among the tensors that are none of the module's."""
    for name in sorted(rest, key=len):
        parent, _, last = name.rpartition(".")
        for mean_name, std_name in _NORMALISATIONS:
            other = f"{parent}.{std_name}" if parent else std_name
            mean, std = rest[name], rest.get(other)
            if last != mean_name or not all(
                isinstance(part, Tensor) and part.numel() in (1, 3) for part in (mean, std)
            ):
                continue
            assert isinstance(std, Tensor)
            values = [tuple(float(f"{value:.6g}") for value in part.flatten().tolist()) for part in (mean, std)]
            return Normalisation(values[0], values[1], (name, other))
    return None


def _notes(
    loaded: Loaded,
    given: Mapping[str, Any],
    own: Mapping[str, Any],
    prefix: str,
    rest: Mapping[str, Any],
    known: Sequence[str],
) -> tuple[str, ...]:
    """What stands in the file beside what was taken."""
    notes = []
    if loaded.beside:
        notes.append(
            f"the weights under {loaded.entry!r} were taken; {' and '.join(map(repr, loaded.beside))}, which the file "
            "also holds, was not"
        )
    elif not set(loaded.entry.split(".")).isdisjoint(AVERAGED_ENTRIES):
        notes.append(f"the file holds only an average of the weights, under {loaded.entry!r}; it was taken")
    left = [
        name
        for name in rest
        if name not in known
        and name.rpartition(".")[2] != "n_averaged"
        and not _is_copy(name, given, own, prefix, known)
    ]
    if left:
        what = f"the network under {prefix!r} was taken" if prefix else "the network was taken"
        notes.append(f"{what}; {len(left)} other tensors of the file were not ({_first(left)})")
    return tuple(notes)


def _is_copy(name: str, given: Mapping[str, Any], own: Mapping[str, Any], prefix: str, known: Sequence[str]) -> bool:
    """Whether a tensor is one of those that were taken, under another name."""
    value, rest = given[name], name
    originals = [given[other] for other in known]
    for _ in range(DEPTH + 1):
        rest = rest.partition(".")[2]
        if rest in own:
            originals.append(given.get(prefix + rest))
    return isinstance(value, Tensor) and any(
        isinstance(original, Tensor) and original.shape == value.shape and torch.equal(original, value)
        for original in originals
    )


def _oddities(own: Mapping[str, Any], taken: Mapping[str, Any]) -> tuple[str, ...]:
    """What is odd about weights that fit: values that are not finite, where the module's own are (masks are not)."""
    odd = [
        name
        for name, value in taken.items()
        if isinstance(value, Tensor)
        and isinstance(own[name], Tensor)
        and value.is_floating_point()
        and not value.to(own[name].dtype).isfinite().all()
        and (is_lazy(own[name]) or own[name].isfinite().all())
    ]
    return (f"{len(odd)} tensors hold NaN or infinity ({_first(odd)})",) if odd else ()
