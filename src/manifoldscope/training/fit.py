"""One training loop for every objective."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from manifoldscope.attacks.engine import require_label
from manifoldscope.errors import DataError, ModelError, StudyError, shortened
from manifoldscope.seeds import derive, generator
from manifoldscope.settings import check_setting
from manifoldscope.training.augmentation import AugmentName, augmented
from manifoldscope.training.history import Epoch as Epoch
from manifoldscope.training.objectives import Objective
from manifoldscope.training.optimisers import check_rates, one_cycle, optimiser_of
from manifoldscope.training.saving import Progress, Saver, Saving, tensors_digest, tensors_of
from manifoldscope.training.watch import EVALUATED, evaluated_every, evaluation
from manifoldscope.vision.images import ImageSet, as_image_set
from manifoldscope.vision.network import Network, as_network, first_pass, undisturbed

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""In the text of a function that a module shows, which is another in every process."""


@torch.inference_mode(False)
@torch.enable_grad()
def fit(
    network: Network | nn.Module,
    images: ImageSet,
    objective: Objective,
    *,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    optimiser: str = "adam",
    weight_decay: float = 0.0,
    augment: str = "none",
    seed: int = 0,
    saving: Saving | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
) -> list[Epoch]:
    """Train a network in place with a one-cycle learning rate; its module is left in evaluation mode.

    The preprocessed images are held in memory: n x channels x height x width x 4 bytes.

    What trains on attacked images is evaluated as it goes, by FGSM and PGD at its full radius on the same 200 of them,
    after every epoch; or, where images are few, after every second, third, ..., so that it costs at most about 5% of
    the training, and after the last. It changes nothing that is trained.

    Args:
        network: the network, or a module that is shown pixels in [0, 1]; its parameters are changed.
        images: what to train on.
        objective: what to train for; one that does not train changes nothing.
        epochs: passes over the images, at least 1.
        batch_size: images per step; the last incomplete batch of an epoch is dropped.
        learning_rate: peak of the cycle.
        optimiser: "adam" or "sgd"; see `optimisers.optimiser_of`.
        weight_decay: factor of its L2 penalty.
        augment: "none" or "shift_flip"; see `augmentation.augmented`.
        seed: order of the images, their augmentation, dropout, and the objective's random numbers.
        saving: where to save what is needed to go on after an interruption. Called with the same arguments and the
            same network with its first weights, `fit` goes on there, and ends on the same machine with the same weights
            bit for bit. Whatever does not fit is not used, and warned of.
        on_progress: told the share of the work that is done.

    Returns:
        One record an epoch.

    Raises:
        ModelError: the loss or a weight became NaN or infinite; the network has no parameter that can be trained, does
            not take the images, has fewer outputs than the labels need, or something in its state dict that cannot be
            saved.
        DataError: no images.
        StudyError: no such optimiser or augmentation; what is no objective, or gives no loss; numbers that cannot be;
            weights that cannot be kept where `saving` says, or another training that saves there.
    """
    network, images = as_network(network), as_image_set(images)
    if not isinstance(objective, Objective):
        raise StudyError(
            f"objective = {shortened(repr(objective))}; expected an Objective, such as Standard() or "
            "OBJECTIVES['standard'].target()"
        )
    if not isinstance(saving, Saving | None):
        raise StudyError(f"saving = {shortened(repr(saving))}; expected Saving(folder=...), or None")
    for name, number in (("epochs", epochs), ("batch_size", batch_size), ("seed", seed)):
        check_setting(StudyError, name, number, int)
        if number < 1 and name != "seed":
            raise StudyError(f"{name} = {number}; expected a whole number of at least 1")
    check_setting(StudyError, "augment", augment, AugmentName)
    check_rates(learning_rate, weight_decay)
    epochs, batch_size, seed = int(epochs), int(batch_size), int(seed)  # of numpy as well
    learning_rate, weight_decay = float(learning_rate), float(weight_decay)
    if not objective.trains:
        network.module.eval()
        return []
    trained = [parameter for parameter in network.module.parameters() if parameter.requires_grad]
    if not len(images):
        raise DataError("there are 0 images to train on; expected at least one")
    if not trained:
        raise ModelError(
            f"{network.name} has no parameter that can be trained: each has requires_grad = False, or there is none; "
            "set it, or use the objective 'random'"
        )
    if any(parameter.is_inference() for parameter in trained):
        raise ModelError(
            f"{network.name} has weights that were made under torch.inference_mode, which cannot be trained; make or "
            "load the module outside of it"
        )
    device = network.device
    pixels, labels = network.pixels(images), images.labels
    size = min(batch_size, len(pixels))
    per_epoch = len(pixels) // size
    steps = epochs * per_epoch
    evaluate_epoch = evaluation(network, pixels, labels, objective.radius, seed=seed, batch_size=batch_size)
    between = evaluated_every(per_epoch * size, objective.passes, min(EVALUATED, len(pixels)))
    streams = {name: generator(seed, name) for name in ("order", "augment", "objective")}
    updates = optimiser_of(
        optimiser, network.module.parameters(), learning_rate=learning_rate, weight_decay=weight_decay
    )
    at, saver = (
        Progress(torch.arange(per_epoch * size, device="cpu"), torch.zeros((), dtype=torch.float32, device=device)),
        None,
    )
    network.module.train()
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), ExitStack() as ending:
        with undisturbed(network), torch.no_grad():
            n_outputs = first_pass(network, pixels[:size]).shape[1]
        require_label(network, int(labels.max()), n_outputs)
        torch.manual_seed(derive(seed, "dropout"))  # dropout draws from the global generator
        if saving is not None:
            schedule = {
                "epochs": epochs,
                "batch_size": batch_size,
                "learning_rate": learning_rate,
                "optimiser": optimiser,
                "weight_decay": weight_decay,
                "augment": augment,
                "seed": seed,
                "every": saving.every,
            }
            identity = _identity(network, pixels, labels, objective, schedule)
            sizes = {"n_images": len(pixels), "n_steps": steps, "per_epoch": per_epoch}
            saver = Saver(saving, identity, network.module, updates, streams, **sizes)
            ending.callback(saver.close)
            at = saver.resumed(at)
            if not at.done:
                saver.keep(0)
        while at.done < steps:
            began = time.monotonic()
            epoch, place = divmod(at.done, per_epoch)
            if place == 0:
                at.order = torch.randperm(len(pixels), generator=streams["order"], device="cpu")[: per_epoch * size]
                at.total, at.seconds = torch.zeros_like(at.total), 0.0
            batch = at.order[place * size : (place + 1) * size]
            rate = one_cycle(at.done / steps) * learning_rate
            for group in updates.param_groups:
                group["lr"] = rate
            shown = augmented(pixels[batch].to(device), augment, streams["augment"])
            loss = objective.loss(network, shown, labels[batch].to(device), at.done / steps, streams["objective"])
            _check_loss(loss, network, objective)
            updates.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            updates.step()
            at.total += loss.detach()
            at.done += 1
            if place + 1 == per_epoch:
                mean = float(at.total) / per_epoch
                if not (math.isfinite(mean) and all(bool(each.isfinite().all()) for each in trained)):
                    why = f"loss {mean}" if not math.isfinite(mean) else "weights that are NaN or infinite"
                    narrow = any(each.dtype == torch.float16 for each in trained)  # in which small squares are 0
                    advice = "train it in float32 (module.float())" if narrow else "lower the learning rate"
                    raise ModelError(f"training of {network.name} diverged in epoch {epoch + 1} ({why}); {advice}")
                record = Epoch(epoch + 1, mean, rate, seconds=at.seconds + time.monotonic() - began)
                due = (epoch + 1) % between == 0 or epoch + 1 == epochs
                at.history.append(evaluate_epoch(record) if due and evaluate_epoch is not None else record)
                if saver is not None:
                    saver.keep(epoch + 1)
            else:
                at.seconds += time.monotonic() - began
            if saver is not None:
                saver.save_if_due(at)
            on_progress(at.done / steps)
    for parameter in network.module.parameters():
        parameter.grad = None
    network.module.eval()
    return at.history


def _check_loss(loss: Tensor, network: Network, objective: Objective) -> None:
    """Raise StudyError unless a loss is a scalar with a gradient."""
    if not isinstance(loss, Tensor) or loss.shape or not loss.is_floating_point():
        given = f"{tuple(loss.shape)} of {loss.dtype}" if isinstance(loss, Tensor) else type(loss).__name__
        raise StudyError(
            f"the loss of {type(objective).__name__} is {given}; expected a scalar tensor, such as the mean of the "
            "batch, floating point"
        )
    if not loss.requires_grad:
        raise StudyError(
            f"the loss of {type(objective).__name__} has no gradient by the weights of {network.name}; take out what "
            "detaches it, in the objective or in the forward of the module (torch.no_grad, detach, item)"
        )


def _identity(
    network: Network, pixels: Tensor, labels: Tensor, objective: Objective, schedule: Mapping[str, Any]
) -> str:
    """Everything that says which training it is, before its first step, under the names that people know it by."""
    kind = type(objective)
    return json.dumps(
        {
            "objective": [f"{kind.__module__}.{kind.__qualname__}", repr(objective)],
            **schedule,
            "images": tensors_digest({"pixels": pixels, "labels": labels}),
            "network": _ADDRESS.sub("", str(network.module)),
            "choice of what is trained": [
                name for name, each in network.module.named_parameters() if each.requires_grad
            ],
            "first weights": tensors_digest(tensors_of(network.module, hidden=True)),
            "normalisation": [list(map(float, network.mean)), list(map(float, network.std))],
            "version of torch": torch.__version__,
            "device": network.device.type,
        },
        sort_keys=True,
    )


def state(network: Network) -> dict[str, Tensor]:
    """Parameters and buffers, on the CPU, contiguous: what a checkpoint holds.

    Raises:
        ModelError: the module keeps something else in its state dict.
    """
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors_of(network.module).items()}
