"""Does a network take red, green and blue in this order?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from manifoldscope.attacks.checks import channel_order_checks
from manifoldscope.study.store import Store
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from manifoldscope.vision.small import build
from tests.study import tiny


def coloured(n: int = 60) -> ImageSet:
    """Red images of class 0, green ones of class 1 and blue ones of class 2."""
    labels = torch.arange(n) % 3
    pixels = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.5
    pixels[torch.arange(n), labels] += 0.5
    return ImageSet.of(pixels, labels)


class Colours(nn.Module):
    """Logits: the mean of each channel, in this order; in reverse, of a network that was shown blue first."""

    def __init__(self, *, reverse: bool = False, grey: bool = False) -> None:
        super().__init__()
        self.reverse, self.grey = reverse, grey

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        means = pixels.mean((2, 3))
        means = means.mean(1, keepdim=True) * torch.tensor([1.0, 2.0, 3.0]) if self.grey else means
        return means.flip(1) if self.reverse else means


def test_a_network_that_takes_blue_first_is_flagged_and_one_that_takes_red_first_is_not() -> None:
    (right,) = channel_order_checks(Network(Colours()), coloured())
    (wrong,) = channel_order_checks(Network(Colours(reverse=True)), coloured())
    assert right["passed"] is True
    assert wrong["passed"] is False
    assert wrong["value"] == pytest.approx(2 / 3)
    assert "33.3% as it is, 100.0% with blue first; was it trained on images that were read as" in wrong["note"]


def test_clean_accuracy_may_not_tell_the_order() -> None:
    (row,) = channel_order_checks(Network(Colours(grey=True)), coloured())
    assert row["passed"] is None
    assert "does not tell the two orders apart" in row["note"]


@pytest.mark.parametrize("n_channels", [1, 3])
def test_grey_images_have_no_order(n_channels: int) -> None:
    drawn = ImageSet.of(torch.rand(6, 1, 8, 8).expand(-1, n_channels, -1, -1), [0, 1] * 3)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64 * n_channels, 3))
    assert channel_order_checks(Network(module), drawn) == []


@pytest.mark.parametrize("loaded", [True, False])
def test_inspect_looks_at_it_where_weights_are_loaded(tmp_path: Path, loaded: bool) -> None:
    drawn = coloured(180)
    np.savez(tmp_path / "images.npz", images=drawn.raw.pixels.numpy(), labels=drawn.labels.numpy())  # type: ignore[attr-defined]  # they are an array
    torch.save(build("cnn", channels=3, size=8, n_classes=3, seed=0).state_dict(), tmp_path / "weights.pt")
    weights = {"weights": str(tmp_path / "weights.pt"), "at_chance": "measure"}
    own = weights if loaded else {"training": {"objective": "standard", "epochs": 1}}
    data = {
        "source": "arrays",
        "root": str(tmp_path / "images.npz"),
        "geometry": {"images_per_class": 12},
        "robustness": {"images_per_class": 10},
        "training": {"images_per_class": 20},
    }
    study = tiny.study(models=[{"name": "one", "source": "small:cnn", **own}], data=data)
    store = Store(tmp_path / "store")
    units, context = tiny.planned(study, store), tiny.context_of(study, store)
    for train in tiny.of_kind(units, "train"):
        store.publish(train, train.compute(context, lambda share: None), {})
    (inspect,) = tiny.of_kind(units, "inspect")
    checks = set(inspect.compute(context, lambda share: None).tables["checks"]["check"])
    assert ("channel order" in checks) == loaded
