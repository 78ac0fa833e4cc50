"""Files of weights as others save them: read without running any of it, and digested as they are read."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load as parse_safetensors
from torch import Tensor
from torch.serialization import safe_globals

from manifoldscope.errors import ModelError
from manifoldscope.files import open_regular
from manifoldscope.vision.printable import printable

_ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module", "best", "last")
AVERAGED_ENTRIES = ("state_dict_ema", "model_ema", "model_ema_state_dict", "ema_state_dict", "ema_model", "ema")
RECIPE = "recipe"
"""Under which name weights that were trained here say in their file how they were made."""
_DEPTH = 4
"""How many tables deep a state dict is looked for."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file of weights holds.

    Attributes:
        name: the name of the file, without its folder.
        content: tensors by name, or whatever else was saved.
        digest: SHA-256 of the very bytes that were read.
        metadata: of a safetensors file: names left out because their tensor is there under another name, which it
            says; and the `RECIPE` of weights that were trained here.
    """

    name: str
    content: Any
    digest: str
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The content of a safetensors file, or of one that `torch.save` wrote (read with `weights_only=True`).

    A file of n bytes takes at most 2n bytes of memory: one that claims more than it holds is refused.

    Raises:
        ModelError: no such file; not a file of weights; objects in it that only unpickling, which runs the file's own
            code, could restore; or another content at the end of reading than at its beginning.
    """
    file = Path(path).expanduser()
    try:
        with open_regular(file) as opened:
            digest = _digest(opened)
            content, metadata = _content(opened, file.name)
            if _digest(opened) != digest:
                raise ModelError(f"{file.name} changed while it was read; wait until it is written, and try again")
    except FileNotFoundError:
        raise ModelError(
            f"there is no weights file {str(path)!r}; give the path of a safetensors file or a state dict"
        ) from None
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read as weights: {error.strerror or error}") from error
    return Checkpoint(file.name, content, digest, metadata)


def _digest(file: BufferedReader) -> str:
    """The SHA-256 of an open file as it is on the disk, whatever of it was read before."""
    unbuffered = cast(FileIO, file.raw)
    unbuffered.seek(0)
    digest = hashlib.file_digest(unbuffered, "sha256").hexdigest()
    file.seek(0)
    return digest


def safetensors_content(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file's content.

    Raises ValueError where it is none.
    """
    try:
        tensors = parse_safetensors(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except Exception as error:  # a hostile or broken file makes the reader raise anything at all
        raise ValueError(printable(" ".join(str(error).split())[:120]) or type(error).__name__) from error
    return tensors, header.get("__metadata__") or {}


def _content(file: BufferedReader, name: str) -> tuple[Any, dict[str, str]]:
    size = os.fstat(file.fileno()).st_size
    head = file.read(512)
    file.seek(0)
    # the length of the header in eight bytes, then the header, which is JSON
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        try:
            return safetensors_content(file.read())
        except ValueError as error:
            raise ModelError(f"{name} is no readable safetensors file ({error}); it may be truncated") from error
    if what := _recognised(head):
        raise ModelError(f"{name} {what}")
    if head.startswith(b"PK"):
        _check_archive(file, name, size)
    elif name.endswith(".safetensors"):
        raise ModelError(f"{name} is no readable safetensors file (it has no header); it may be truncated")
    return _torch_content(file, name), {}


def _recognised(head: bytes) -> str | None:
    """What a file is that holds no weights, by its first bytes, and what to do about it."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty; download or copy it again"
    if not head.strip(b"\0"):
        return "begins with nothing but zeros, as a download that was interrupted does; download or copy it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS and not the file itself; fetch it with `git lfs pull`"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<script")):
        return (
            "is a web page that was saved in place of the file (as Google Drive does where it could not scan a large "
            "file for viruses); download it again in a browser and confirm the download there"
        )
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")) or head[257:262] == b"ustar":
        return "is an archive; unpack it, and give the file of weights inside"
    if head.startswith((b"\x89HDF", b"\x93NUMPY")):
        kind = "HDF5" if head.startswith(b"\x89HDF") else "numpy"
        return f"is a file of {kind}; expected safetensors, or a state dict saved by torch.save"
    if text.startswith((b"{", b"[")):
        return "is a text (JSON, it seems); expected safetensors, or a state dict saved by torch.save"
    return None


def _check_archive(file: BufferedReader, name: str, size: int) -> None:
    """Refuse zip archives that torch.save did not write, and those that unpack to more than the file itself."""
    try:
        entries = zipfile.ZipFile(file).infolist()
    except Exception as error:  # zipfile raises many kinds for a broken archive
        told = printable(" ".join(str(error).split())[:120])
        raise ModelError(
            f"{name} cannot be read as weights ({told}); it may be truncated: copy or download it again"
        ) from error
    file.seek(0)
    parts = [entry.filename.rpartition("/")[2] for entry in entries]
    if "constants.pkl" in parts:
        raise ModelError(
            f"{name} is a TorchScript program, and loading that would run code from the file; save its state_dict() "
            "where it came from, and give that file"
        )
    if "data.pkl" not in parts:
        what = "numpy arrays" if any(part.endswith(".npy") for part in parts) else ", ".join(map(repr, parts[:3]))
        raise ModelError(
            f"{name} is a zip archive without weights of torch.save in it (it holds {what or 'nothing'}); unpack it if "
            "the file of weights is inside, else save a state dict with torch.save or as safetensors"
        )
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ModelError(
            f"{name} is compressed or claims more than it holds ({unpacked:,} bytes in a file of {size:,}), which "
            "torch.save never writes; it was not unpacked: save the state dict again"
        )


class _Ignored:
    """Stands for settings and records beside the weights of a checkpoint: never made, and never looked at."""

    def __new__(cls, *arguments: object) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


class _IgnoredTable:
    """The same for what is filled key by key."""

    def __new__(cls, *arguments: object) -> Any:
        return {}


_NUMPY = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.dtypes")
_IGNORED = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "datetime.datetime",
    "datetime.timedelta",
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath", "Path")),
    *(f"{module}.{name}" for module in _NUMPY for name in ("scalar", "dtype", "ndarray", "_reconstruct")),
    *(f"numpy.dtypes.{kind}DType" for kind in ("Float64", "Float32", "Float16", "Int64", "Int32", "Bool", "UInt8")),
    *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata")),
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean")),
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    "typing.Any",
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("int", "float", "str", "dict", "list")),
)
_IGNORED_TABLES = (
    "collections.defaultdict",
    "easydict.EasyDict",
    *(f"{package}.utilities.data.AttributeDict" for package in ("lightning.fabric", "lightning_fabric")),
    *(f"{package}.utilities.parsing.AttributeDict" for package in ("lightning.pytorch", "pytorch_lightning")),
)
"""What trainers save beside weights (argparse's settings, numpy's scores, Lightning's hyper-parameters). Their names in
a file are answered with the two classes above, so that the tensors can be had without making any of them."""


def _torch_content(file: BufferedReader, name: str) -> Any:
    stand_ins: list[Any] = [(_Ignored, called) for called in _IGNORED]
    stand_ins += [(_IgnoredTable, called) for called in _IGNORED_TABLES]
    try:
        with warnings.catch_warnings(), safe_globals(stand_ins):
            warnings.simplefilter("ignore")  # old formats are announced as such; they are read all the same
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or broken file makes the reader raise anything at all
        reason = printable(" ".join(str(error).split()))
        foreign = "unsupported" in reason.lower() or "weights_only" in reason.lower()
        if foreign:
            raise ModelError(
                f"{name} holds more than tensors, and reading that would run code from the file; it was refused "
                f"({_global_named(reason)}). If you trust it, save its state_dict() as safetensors where it came "
                "from, and give that file"
            ) from error
        raise ModelError(
            f"{name} cannot be read as weights ({type(error).__name__}: {reason[:120]}); expected safetensors, "
            "or a state dict saved by torch.save; it may be truncated"
        ) from error


def _global_named(reason: str) -> str:
    """The object that the reader refused, out of its long advice."""
    words = reason.split("GLOBAL ")
    return f"it asks for {words[1].split()[0]}" if len(words) > 1 else "it is no plain state dict"


# -- what a file holds -------------------------------------------------------------------------------------------------


def state_dict_in(content: Any, name: str) -> tuple[str, Mapping[Any, Any], tuple[str, ...]]:
    """Where the tensors by name stand in what a file holds, those tensors, and other entries that hold some."""
    path: list[str] = []
    beside: list[str] = []
    for _ in range(_DEPTH):
        if not isinstance(content, Mapping) or _is_state_dict(content):
            break
        tables = {
            printable(str(key)): value for key, value in content.items() if isinstance(value, Mapping) and _holds(value)
        }
        known = [entry for entry in (*_ENTRIES, *AVERAGED_ENTRIES) if entry in tables]
        chosen = known or [entry for entry in tables if "optim" not in entry]
        if not chosen or (not known and len(chosen) > 1):
            break
        path.append(chosen[0])
        beside += [entry for entry in known[1:] if entry in tables]
        content = tables[chosen[0]]
    if isinstance(content, Mapping) and _is_state_dict(content):
        return ".".join(path), content, tuple(beside)
    if isinstance(content, Sequence) and any(isinstance(part, Mapping) for part in content):
        raise ModelError(
            f"{name} holds a list of {len(content)} networks (an ensemble); save the one that is meant alone"
        )
    keys = (
        [printable(str(key)[:40]) for key in list(content)[:5]]
        if isinstance(content, Mapping)
        else [type(content).__name__]
    )
    held = ", ".join(keys)
    if isinstance(content, Mapping) and _holds(content):
        raise ModelError(f"{name} holds several tables of tensors ({held}); save the state dict that is meant alone")
    raise ModelError(
        f"{name} holds no named tensors (it holds: {held or 'nothing'}); expected a state dict, plain or under one of "
        f"{', '.join(_ENTRIES)}"
    )


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    return any(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()) and not any(
        isinstance(content.get(entry), Mapping) and _holds(content[entry]) for entry in (*_ENTRIES, *AVERAGED_ENTRIES)
    )


def _holds(content: Mapping[Any, Any], depth: int = _DEPTH) -> bool:
    """Whether tensors by name stand in a table, or in one that it holds."""
    return any(
        (isinstance(key, str) and isinstance(value, Tensor))
        or (depth > 0 and isinstance(value, Mapping) and _holds(value, depth - 1))
        for key, value in content.items()
    )
