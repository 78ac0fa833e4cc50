"""Float32 inside, and afterwards whatever a process had set, by the newer settings of torch or by the older ones."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network, logits, undisturbed
from manifoldscope.vision.precision import IEEE, OPERATORS, _Settings, float32
from manifoldscope.vision.preprocessing import Preprocessing

BACKENDS = torch.backends
NEWER = hasattr(BACKENDS, "fp32_precision")  # torch 2.9 or later


def setting(owner: object, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)


def general() -> str | None:
    """What torch says of all operators at once, if it has the newer settings."""
    return BACKENDS.fp32_precision if NEWER else None


SET: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "products, the older way": setting(BACKENDS.cuda.matmul, "allow_tf32", True),
    "no convolutions, the older way": setting(BACKENDS.cudnn, "allow_tf32", False),
}
if NEWER:
    SET |= {
        "all": setting(BACKENDS, "fp32_precision", "tf32"),
        "products": setting(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
        "convolutions": setting(BACKENDS.cudnn.conv, "fp32_precision", "ieee"),
        "products on the CPU": setting(BACKENDS.mkldnn.matmul, "fp32_precision", "bf16"),
        "convolutions on the CPU": setting(BACKENDS.mkldnn.conv, "fp32_precision", "bf16"),
    }


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    before, widest = _Settings(), general()
    yield
    if NEWER:
        BACKENDS.fp32_precision = widest
    for operators in OPERATORS.values():
        for operator in operators:
            operator.fp32_precision = "none"
    before.put_back()
    assert _Settings() == before


def precise(device: str) -> bool:
    if NEWER:
        return all(operator.fp32_precision in IEEE for operator in OPERATORS[device])
    products = torch.get_float32_matmul_precision() == "highest"
    return products and (device == "cpu" or not BACKENDS.cudnn.allow_tf32)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("second", SET)
@pytest.mark.parametrize("first", [name for name in ("nothing", "medium", "all", "products") if name in SET])
def test_float32_inside_and_what_was_set_afterwards(device: str, first: str, second: str) -> None:
    SET[first]()
    SET[second]()
    before, widest = _Settings(), general()
    with float32(torch.device(device)):
        with pytest.raises(ZeroDivisionError), float32(torch.device(device)):
            raise ZeroDivisionError
        assert precise(device)
    assert _Settings() == before
    assert general() == widest


@pytest.mark.skipif(not NEWER, reason="torch before 2.9 has no more general setting")
def test_where_nothing_is_to_be_changed_nothing_is() -> None:
    """So that a more general setting is still heard afterwards."""
    with float32(torch.device("cpu")):
        pass
    BACKENDS.fp32_precision = "tf32"
    assert {operator.fp32_precision for operator in OPERATORS["cpu"]} == {"tf32"}


class Asking(nn.Module):
    """Notes whether products and convolutions are those of float32 while it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.seen: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(precise("cpu"))
        found: Tensor = self.linear(x.flatten(1))
        return found


def test_a_network_is_measured_in_float32_whatever_the_process_has_set() -> None:
    SET["medium"]()
    module = Asking()
    network = Network(module, preprocessing=Preprocessing(channels=1))
    logits(network, ImageSet.of(torch.rand(3, 1, 2, 2), [0] * 3))
    with undisturbed(network):
        network(torch.rand(3, 1, 2, 2))
    assert module.seen == [True, True]
    assert torch.get_float32_matmul_precision() == "medium"


def test_a_network_is_measured_in_float32_within_an_autocast() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    network, pixels = Network(module, preprocessing=Preprocessing(channels=1)), torch.rand(3, 1, 2, 2)
    plain = module(pixels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not torch.equal(network(pixels), plain)
        with undisturbed(network):
            assert torch.equal(network(pixels), plain)
        assert torch.is_autocast_enabled("cpu")


def test_of_two_threads_the_last_to_leave_puts_back() -> None:
    SET["high"]()
    before = _Settings()
    entered, left = threading.Event(), threading.Event()
    seen = []

    def second() -> None:
        with float32(torch.device("cpu")):
            entered.set()
            left.wait(10)
            seen.append(precise("cpu"))

    other = threading.Thread(target=second)
    with float32(torch.device("cpu")):
        other.start()
        assert entered.wait(10)
    left.set()
    other.join()
    assert seen == [True]
    assert _Settings() == before


FROZEN = """
import sys, warnings
import torch
from manifoldscope.vision.precision import _inside, float32
torch.set_float32_matmul_precision("high")
torch.backends.disable_global_flags()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for device in ("cpu", "cuda", "cpu"):
        with float32(torch.device(device)):
            pass
assert any("frozen" in str(each.message) for each in caught), caught
assert not _inside
assert torch.get_float32_matmul_precision() == "high"
"""


def test_a_process_that_has_frozen_its_settings_is_warned() -> None:
    """In a process of its own: nothing thaws them."""
    subprocess.run([sys.executable, "-c", FROZEN], check=True)


def test_an_entry_that_fails_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    SET["high"]()
    before = _Settings()

    def fail(self: _Settings, device: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_Settings, "make_float32", fail)
        with pytest.raises(KeyboardInterrupt):
            float32(torch.device("cpu")).__enter__()
    with float32(torch.device("cpu")):
        assert precise("cpu")
    assert _Settings() == before
