"""Weights from a file into a module: tensors alone, never anything that would have to be unpickled."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from manifoldscope.errors import ModelError

_NESTED = ("state_dict", "model_state_dict", "model", "net")
_WRAPPERS = ("module.", "model.", "_orig_mod.")  # what DataParallel, common wrappers and torch.compile put before names


_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""torchvision's DenseNet files were saved when modules could still be called "norm.1"; they are "norm1" now."""


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weights file, by name, on the CPU.

    Understands safetensors, and PyTorch state dicts (plain, or under `state_dict`, `model_state_dict`, `model` or
    `net`), which are read with `weights_only=True`. A prefix that a wrapper put before every name is taken off; half
    precision becomes float32.

    Raises:
        ModelError: no such file, no tensors in it, or objects in it that only unpickling, which runs the file's own
            code, could restore.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ModelError(f"there is no weights file {str(path)!r}; give the path of a safetensors file or a state dict")
    content = _read_safetensors(file) if _is_safetensors(file) else _read_state_dict(file)
    for key in _NESTED:
        inner = content.get(key) if isinstance(content, Mapping) else None
        if isinstance(inner, Mapping):
            content = inner
            break
    entries = content if isinstance(content, Mapping) else {}
    tensors = {str(name): value.detach() for name, value in entries.items() if isinstance(value, Tensor)}
    if not tensors:
        held = ", ".join(map(str, list(entries)[:5])) if entries else type(content).__name__
        raise ModelError(
            f"{file.name} holds no named tensors (it holds: {held or 'nothing'}); expected a state dict, plain or "
            f"under one of {', '.join(_NESTED)}"
        )
    half = (torch.float16, torch.bfloat16)
    return {
        _OLD_DENSENET.sub(r"\1\2", name): tensor.float() if tensor.dtype in half else tensor
        for name, tensor in zip(_bare(list(tensors)), tensors.values(), strict=True)
    }


def fit(module: nn.Module, weights: Mapping[str, Tensor] | str | Path, where: str) -> None:
    """Put weights into a module, all of them or none.

    Batch counters (`num_batches_tracked`) may be missing: evaluation does not use them.

    Args:
        weights: tensors by name, or the file that holds them.
        where: what the module is called in messages.

    Raises:
        ModelError: listing the tensors that are missing, unexpected or of another shape.
    """
    if not isinstance(weights, Mapping):
        weights = load_weights(weights)
    state = module.state_dict()
    own = dict(zip(_bare(list(state)), state, strict=True))  # as a file would name them -> as the module does
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in weights if name not in own]
    misshaped = [
        f"{name} {tuple(tensor.shape)} where {tuple(state[own[name]].shape)} is expected"
        for name, tensor in weights.items()
        if name in own and tensor.shape != state[own[name]].shape
    ]
    problems = [
        f"{len(found)} {what} ({_first(found)})"
        for what, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
        if found
    ]
    if problems:
        raise ModelError(
            f"the weights do not fit {where}, which has {len(own)} tensors: {'; '.join(problems)}. "
            "They are probably of another architecture"
        )
    module.load_state_dict({own[name]: tensor for name, tensor in weights.items()}, strict=False)


def file_digest(path: str | Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Raises ModelError where the file cannot be read.
    """
    try:
        with Path(path).expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def _is_safetensors(file: Path) -> bool:
    if file.suffix == ".safetensors":
        return True
    with file.open("rb") as opened:
        head = opened.read(9)
    # the length of the header in eight bytes, then the header, which is JSON
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < file.stat().st_size


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(file))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{file.name} is no readable safetensors file ({error}); it may be truncated") from error


def _read_state_dict(file: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old formats are announced as such; they are read all the same
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or broken file makes the reader raise anything at all
        reason = " ".join(str(error).split())
        foreign = "unsupported" in reason.lower() or "weights_only" in reason.lower()
        if foreign:
            raise ModelError(
                f"{file.name} holds more than tensors, and reading that would run code from the file; it was refused "
                f"({_global_named(reason)}). If you trust it, save its state_dict() as safetensors where it came "
                "from, and give that file"
            ) from error
        raise ModelError(
            f"{file.name} cannot be read as weights ({reason[:120] or type(error).__name__}); expected safetensors, "
            "or a state dict saved by torch.save; it may be truncated"
        ) from error


def _global_named(reason: str) -> str:
    """The object that the reader refused, out of its long advice."""
    words = reason.split("GLOBAL ")
    return f"it asks for {words[1].split()[0]}" if len(words) > 1 else "it is no plain state dict"


def _bare(names: Sequence[str]) -> list[str]:
    """The names without the prefixes that all of them share with a wrapper."""
    bare = list(names)
    while prefix := next((w for w in _WRAPPERS if bare and all(name.startswith(w) for name in bare)), None):
        bare = [name.removeprefix(prefix) for name in bare]
    return bare


def _first(names: Sequence[str], n: int = 3) -> str:
    return ", ".join(names[:n]) + (", ..." if len(names) > n else "")
