"""Network: a torch module with its own preprocessing and normalisation, so that outside it images are in [0, 1]."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from manifoldscope.errors import DataError, ManifoldscopeError, ModelError
from manifoldscope.seeds import derive
from manifoldscope.vision.batching import out_of_memory
from manifoldscope.vision.gradient import NoGradientError, refusing
from manifoldscope.vision.images import ImageSet, as_image_set, batches
from manifoldscope.vision.precision import float32
from manifoldscope.vision.preprocessing import Preprocessing, in_channels
from manifoldscope.vision.raw import ArrayImages
from manifoldscope.vision.shown import counted, html_table

SHOWN = 3
"""Parts of an output that a message names."""


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A classifier of images in [0, 1]; normalisation happens inside.

    Attributes:
        module: maps normalised images (n, channels, height, width) to logits (n, n_classes).
        name: what tables call it.
        mean, std: one value per channel, or one for all channels; `module` sees (pixels - mean) / std.
        preprocessing: how a raw image becomes pixels for this network. If it does not say how many channels, they are
            as many as `mean` has, or the first layer takes; where neither tells, as the images have.
        class_names: name of each output, where known.
        provenance: source, weights and whatever else says where it is from; JSON values.

    Example:
        >>> import torch
        >>> module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5))
        >>> network = Network(module, mean=(0.5,) * 3, std=(0.5,) * 3)
        >>> network(torch.rand(4, 3, 2, 2)).shape
        torch.Size([4, 5])
    """

    module: nn.Module
    name: str = "network"
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    class_names: Sequence[str] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lazy = [name for name, parameter in self.module.named_parameters() if is_lazy(parameter)]
        if lazy:
            raise ModelError(
                f"{self.name}: weights have no shape yet ({lazy[0]}); show the module one batch of images first"
            )
        empty = [name for name, each in (*self.module.named_parameters(), *self.module.named_buffers()) if each.is_meta]
        if empty:
            raise ModelError(
                f"{self.name}: weights are on the meta device, which holds no numbers ({empty[0]}); make the module "
                "on a real one and load its weights"
            )
        try:
            mean, std = (tuple(float(value) for value in values) for values in (self.mean, self.std))
        except (TypeError, ValueError):
            raise ModelError(
                f"{self.name}: mean = {self.mean!r}, std = {self.std!r}; expected lists of numbers"
            ) from None
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)
        if not all(map(math.isfinite, (*mean, *std))):
            raise ModelError(f"{self.name}: mean {mean} and std {std} must be finite")
        if max(mean, default=0) > 1:
            raise ModelError(
                f"{self.name}: mean {mean} seems to be that of pixels from 0 to 255, and images are in [0, 1]; divide "
                "mean and std by 255"
            )
        channels = self.preprocessing.channels or _channels(self.module, self.preprocessing.crop)
        if len(mean) != len(std) or len(mean) not in (1, channels or 3):
            raise ModelError(
                f"{self.name}: mean {mean} and std {std} must have one value a channel "
                f"({channels or '1 or 3'}), or one for all"
            )
        if channels is None and len(mean) == 3:
            channels = 3
        object.__setattr__(self, "preprocessing", replace(self.preprocessing, channels=channels))
        if min(std) <= 0:
            raise ModelError(f"{self.name}: std {std} must be positive")

    def __call__(self, pixels: Tensor) -> Tensor:
        """Logits (n, n_classes), float32, of images (n, channels, height, width) in [0, 1]; see `as_logits`.

        Where pixels want a gradient and the module gives none, asking for it raises NoGradientError.

        Raises:
            ModelError: the module gives anything but one row of logits an image.
        """
        wanted = pixels.requires_grad and torch.is_grad_enabled()
        try:
            with torch.set_grad_enabled(torch.is_grad_enabled()):  # which a module may change for whoever comes next
                output = self.module(self.normalise(pixels))
        except RuntimeError as error:
            types = sorted({str(each.dtype) for each in self.module.parameters() if each.is_floating_point()})
            if len(types) > 1 and "type" in str(error):
                raise ModelError(
                    f"{self.name} has parameters of several types ({', '.join(types)}), and takes no pixels in that of "
                    f"the first ({error}); bring them to one type, as module.float() does"
                ) from error
            if "Inference tensors cannot be saved for backward" not in str(error):
                raise
            raise NoGradientError(
                f"{self.name} has weights or buffers that were made under torch.inference_mode, and no gradient leads "
                "through them; make or load the module outside of it"
            ) from error
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            advice = (
                "train it in batches of two images or more"
                if self.module.training
                else "give it running statistics (track_running_stats=True)"
            )
            raise ModelError(
                f"a batch norm of {self.name} takes the mean and std of the batch, and cannot of a single image; "
                f"{advice}"
            ) from error
        logits = as_logits(output, len(pixels), name=self.name)
        if wanted and not logits.requires_grad:
            return refusing(logits, pixels, self.name)
        return logits

    def normalise(self, pixels: Tensor) -> Tensor:
        """What the module sees, in the type of its first real parameter: half or double precision, if it has that."""
        dtype = next((each.dtype for each in self.module.parameters() if each.is_floating_point()), pixels.dtype)
        if not any(self.mean) and set(self.std) == {1.0}:
            return pixels.clone().to(dtype)  # which a module may write over
        mean = torch.tensor(self.mean, dtype=pixels.dtype, device=pixels.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, dtype=pixels.dtype, device=pixels.device).view(1, -1, 1, 1)
        return ((pixels - mean) / std).to(dtype)

    def pixels(self, images: ImageSet, where: slice | None = None) -> Tensor:
        """Preprocessed images, (n, channels, height, width) float32 in [0, 1], on the CPU.

        Raises:
            DataError: an image cannot be read, or the images differ in size and this network does not crop.
        """
        if isinstance(images.raw, ArrayImages):  # equal sizes: one batch
            return self.prepared(images.raw.pixels[images.positions[where or slice(None)]])
        indices = range(len(images))[where or slice(None)]
        prepared = [self.prepared(images.read(index)) for index in indices]
        self.check_sizes(image.shape for image in prepared)
        return torch.stack(prepared) if prepared else torch.empty(0, self.preprocessing.channels or 3, 1, 1)

    def prepared(self, image: Tensor) -> Tensor:
        """Raw images of one size, (..., channels, height, width), as this network sees them, before normalisation."""
        pixels = self.preprocessing(image)
        if self.preprocessing.channels is not None:
            return pixels
        return in_channels(pixels, _channels(self.module, *pixels.shape[-2:]))

    def shape(self, side: int) -> tuple[int, int, int]:
        """(channels, height, width) of a square image that it can be shown; colour where nothing tells."""
        return (self.preprocessing.channels or _channels(self.module, side) or 3, side, side)

    def check_sizes(self, shapes: Iterable[tuple[int, ...]]) -> None:
        """Raise DataError unless images of these shapes can stand in one batch."""
        sizes = {tuple(shape) for shape in shapes}
        if len(sizes) > 1 and len({shape[1:] for shape in sizes}) == 1:
            raise DataError(
                f"some images are grey and some in colour, and the first layer of {self.name} does not tell what it "
                "takes; give the network channels = 1 or 3"
            )
        if len(sizes) > 1:
            raise DataError(
                f"images differ in size ({' and '.join(map(str, sorted(sizes)[:2]))}) and {self.name} does not crop; "
                "give the network a crop size, or resize the images"
            )

    def __repr__(self) -> str:
        return f"Network({', '.join(value for _, value in self._facts())})"

    def _repr_html_(self) -> str:
        return html_table(self.name, (), self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        channels, crop = self.preprocessing.channels, self.preprocessing.crop
        colours = {1: "grey", 3: "colour", None: "grey or colour"}[channels]
        facts = [
            ("name", self.name),
            ("parameters", counted(self.n_parameters, "parameter")),
            ("images", f"{colours}, {f'{crop} x {crop}' if crop else 'any size'}"),
        ]
        if self.class_names is not None:
            facts.append(("classes", counted(len(self.class_names), "class", "classes")))
        if "source" in self.provenance:
            facts.append(("source", str(self.provenance["source"])))
        return facts

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        parameter = next(self.module.parameters(), None)
        return parameter.device if parameter is not None else torch.device("cpu")

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def to(self, device: torch.device | str) -> Network:
        """The same network on another device; the module itself is moved."""
        return replace(self, module=self.module.to(device))


def as_logits(output: object, n_images: int, *, name: str = "the network") -> Tensor:
    """The logits (n, n_classes), float32, in what a module gives for n images.

    That is a tensor; or what has one as its attribute or key `logits`, as the outputs of Hugging Face have; or a tuple
    whose first element is one, such as (logits, auxiliary logits).

    Raises:
        ModelError: anything else; a tuple with two matrices of different widths, of which either might be the logits;
            a single logit an image; a tensor that is sparse, nested or on the meta device.

    Example:
        >>> as_logits({"logits": torch.zeros(2, 10).half()}, 2).dtype
        torch.float32
    """
    logits = output if isinstance(output, Tensor) else _logits_within(output, n_images, name)
    if kind := not_dense(logits):
        raise ModelError(
            f"{name} gives a {kind} tensor for {n_images} images; expected logits (n, n_classes) as a dense one, which "
            ".to_dense() makes of a sparse one"
        )
    if logits.ndim != 2 or len(logits) != n_images or not logits.is_floating_point():
        what = f"shape {tuple(logits.shape)}" + f" and type {logits.dtype}" * (not logits.is_floating_point())
        raise ModelError(f"{name} gives {what} for {n_images} images; expected logits (n, n_classes)")
    if logits.shape[1] < 2:
        raise ModelError(
            f"{name} gives {logits.shape[1]} logit for each image; expected one for each class. Let a network for two "
            "classes give two: z becomes torch.cat([torch.zeros_like(z), z], 1)"
        )
    return logits if logits.dtype == torch.float32 else logits.float()


def not_dense(tensor: Tensor) -> str:
    """What a tensor is that is no array of numbers: sparse, nested, on the meta device; empty of an ordinary one.

    Example:
        >>> not_dense(torch.eye(2).to_sparse()), not_dense(torch.eye(2))
        ('sparse_coo', '')
    """
    if tensor.is_nested or tensor.is_meta:
        return "nested" if tensor.is_nested else "meta"
    return "" if tensor.layout == torch.strided else str(tensor.layout).removeprefix("torch.").strip("_")


def _logits_within(output: object, n_images: int, name: str) -> Tensor:
    """The tensor of logits in an output that is none itself."""
    named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if isinstance(named, Tensor):
        return named
    what, unclear = type(output).__name__, ""
    if isinstance(output, Mapping):
        what = f"a dict with the keys {', '.join(map(repr, output)) or '(none)'}"
    elif isinstance(output, tuple | list):
        shapes = [tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__ for each in output]
        matrices = [shape for shape in shapes if isinstance(shape, tuple) and len(shape) == 2 and shape[0] == n_images]
        if matrices and shapes[0] == matrices[0]:
            if len(set(matrices)) == 1:
                first: Tensor = output[0]
                return first
            unclear = ", of which it is not clear which are the logits"
        more = f" and {len(shapes) - SHOWN} more" * (len(shapes) > SHOWN)
        what = f"a {type(output).__name__} of {', '.join(map(str, shapes[:SHOWN])) or 'nothing'}{more}{unclear}"
    raise ModelError(
        f"{name} gives {what} for {n_images} images; expected logits (n, n_classes), alone, first in a tuple, or as "
        "'logits'. Wrap it in a module whose forward returns the logits alone"
    )


def _channels(module: nn.Module, height: int | None = None, width: int | None = None) -> int | None:
    """How many channels the first layer of a module takes, 1 or 3; None where that is not clear.

    A convolution says it. A linear layer says it for images of a known size, from its number of features.
    """
    layers = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    first = next((child for child in module.modules() if isinstance(child, layers)), None)
    if isinstance(first, nn.Conv2d):
        return first.in_channels if first.in_channels in (1, 3) else None
    if isinstance(first, nn.Linear) and height is not None:
        size = height * (height if width is None else width)
        return {size: 1, 3 * size: 3}.get(first.in_features)
    return None


def as_network(network: Network | nn.Module) -> Network:
    """A network as it is; a plain module as a network that is shown pixels in [0, 1], without normalisation.

    Raises:
        ModelError: neither of them.
    """
    if isinstance(network, Network):
        return network
    if isinstance(network, nn.Module):
        return Network(network, name=type(network).__name__)
    raise ModelError(
        f"the network is {type(network).__name__}; pass a torch.nn.Module, or a Network as `network(module, mean=..., "
        "std=...)` gives it"
    )


@contextmanager
def undisturbed(network: Network) -> Iterator[Network]:
    """The network in evaluation mode, in `float32`, with gradients of parameters off; all is put back afterwards.

    Gradients by the pixels are on, also where the caller is under torch.no_grad or torch.inference_mode.
    Training flags, requires_grad flags, gradients and buffers are what they were, also after an error.
    """
    module = network.module
    # a frozen script has no mode, and torch lets nobody change the flags of inference tensors
    modes = {child: child.training for child in module.modules() if hasattr(child, "training")}
    wanted = [(each, each.requires_grad) for each in module.parameters() if not each.is_inference()]
    buffers = [
        (owner, name, buffer, buffer.clone())
        for owner in module.modules()
        for name, buffer in owner.named_buffers(recurse=False)
    ]
    with suppress(NotImplementedError):  # an exported program has the mode of its export, and no other
        module.eval()
    for parameter, _ in wanted:
        parameter.requires_grad_(False)
    try:
        with float32(network.device), torch.inference_mode(False), torch.enable_grad():
            yield network
    finally:
        for child, training in modes.items():
            child.training = training
        for parameter, flag in wanted:
            parameter.requires_grad_(flag)
        changed = []
        with torch.no_grad():
            for owner, name, buffer, before in buffers:
                now = getattr(owner, name, None)
                if now is None or not identical(now, before):
                    changed.append(name)
                if now is not buffer or not identical(buffer, before):
                    buffer.copy_(before)
                    setattr(owner, name, buffer)
        if changed:
            warnings.warn(
                f"{network.name} changed the buffer {changed[0]!r} in evaluation mode; it was put back", stacklevel=3
            )


def identical(one: Tensor, other: Tensor) -> bool:
    """Equal value for value, NaN with NaN: buffers of a network that diverged have not changed."""
    if one.layout != torch.strided:
        one, other = one.to_dense(), other.to_dense()
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Weights drawn inside come from the stream called `names` under `seed`; the global generator is put back after."""
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(derive(seed, *names))
    try:
        yield
    finally:
        torch.default_generator.set_state(before)


def predicted(logits: Tensor) -> Tensor:
    """The class (n,) int64 of each row of logits (n, n_classes); -1 where a row holds NaN or infinity."""
    return torch.where(torch.isfinite(logits).all(1), logits.argmax(1), -1)


def first_pass(network: Network, pixels: Tensor) -> Tensor:
    """The logits of a pass whose failure tells that network and images do not go together.

    Raises:
        ModelError: they do not.
    """
    try:
        return network(pixels.to(network.device))
    except ManifoldscopeError:
        raise
    except Exception as error:  # whatever a stranger's module does
        if out_of_memory(error):
            raise
        at_once = f", {len(pixels)} at a time" if len(pixels) > 1 else ""
        raise ModelError(
            f"{network.name} cannot take images of shape {tuple(pixels.shape[1:])}{at_once}: "
            f"{' '.join(str(error).split())[:200] or type(error).__name__}"
        ) from error


def logits(network: Network | nn.Module, images: ImageSet, *, batch_size: int = 128) -> Tensor:
    """Logits (n, n_classes) of an image set, float32 on the CPU, in evaluation mode.

    Raises:
        DataError: an image cannot be read, or the images differ in size and this network does not crop.
        ModelError: the network does not take the images.
    """
    network, images = as_network(network), as_image_set(images)
    parts: list[Tensor] = []
    first = network.pixels(images, slice(0, 1)).shape[1:]
    with undisturbed(network), torch.inference_mode():
        for where in batches(len(images), batch_size):
            pixels = network.pixels(images, where)
            network.check_sizes([first, pixels.shape[1:]])
            parts.append(first_pass(network, pixels).to("cpu", copy=True))  # a module may write into it next
    return torch.cat(parts) if parts else torch.empty(0, 0)
