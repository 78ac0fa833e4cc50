"""Weights: what is understood, what is refused, and that all of them fit or none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from manifoldscope.errors import ModelError
from manifoldscope.vision.weights import file_digest, fit, load_weights


def make() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize("nested", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.model.", "_orig_mod."])
def test_state_dicts_of_every_wrapping_fit(tmp_path: Path, nested: str | None, prefix: str) -> None:
    source, target = make(), make()
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    torch.save({"epoch": 3, nested: state} if nested else state, tmp_path / "w.pt")
    fit(target, tmp_path / "w.pt", "the target")
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True)
    )


def test_a_module_whose_own_names_begin_like_a_wrapper_still_fits(tmp_path: Path) -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = make()

    source, target = Wrapper(), Wrapper()
    torch.save(source.state_dict(), tmp_path / "w.pt")
    fit(target, tmp_path / "w.pt", "the target")
    assert torch.equal(source.model[0].weight, target.model[0].weight)


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin"])
def test_safetensors_are_known_by_suffix_or_header_and_halves_become_whole(tmp_path: Path, name: str) -> None:
    state = {key: value.half() if value.is_floating_point() else value for key, value in make().state_dict().items()}
    save_file(state, tmp_path / name)
    loaded = load_weights(tmp_path / name)
    assert loaded["0.weight"].dtype == torch.float32
    assert torch.equal(loaded["0.weight"], state["0.weight"].float())


def test_batch_counters_may_be_missing() -> None:
    state = make().state_dict()
    del state["1.num_batches_tracked"]
    fit(make(), state, "the target")


class Trap:
    """Pickled, it writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path, legacy: bool) -> None:
    torch.save(
        {"state_dict": make().state_dict(), "trap": Trap(tmp_path / "sprung")},
        tmp_path / "w.pt",
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(ModelError, match=r"w\.pt holds more than tensors.*refused.*safetensors"):
        load_weights(tmp_path / "w.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(make(), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"it asks for torch\.nn\.modules\.container\.Sequential"):
        load_weights(tmp_path / "w.pt")


def test_files_without_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no weights file"):
        load_weights(tmp_path / "gone.pt")
    torch.save(make().state_dict(), tmp_path / "torn.pt")
    (tmp_path / "torn.pt").write_bytes((tmp_path / "torn.pt").read_bytes()[:500])
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load_weights(tmp_path / "torn.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ModelError, match=r"cannot be read as weights|holds more than tensors"):
        load_weights(tmp_path / "text.pt")
    (tmp_path / "torn.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(ModelError, match="no readable safetensors file"):
        load_weights(tmp_path / "torn.safetensors")
    torch.save({"epoch": 3, "accuracy": 0.9}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"no named tensors \(it holds: epoch, accuracy\)"):
        load_weights(tmp_path / "other.pt")


def test_weights_of_another_architecture_are_listed_and_nothing_is_changed() -> None:
    target = make()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    state = make().state_dict()
    del state["0.bias"]
    state |= {"3.weight": torch.zeros(5, 8), "head.a": torch.zeros(1), "head.b": torch.zeros(1)}
    with pytest.raises(ModelError) as refused:
        fit(target, state, "my network")
    text = str(refused.value)
    assert "my network, which has 9 tensors" in text
    assert "1 missing (0.bias)" in text
    assert "2 unexpected (head.a, head.b)" in text
    assert "1 of another shape (3.weight (5, 8) where (3, 8) is expected)" in text
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a").startswith("ba7816bf8f01cfea")
    with pytest.raises(ModelError, match="cannot be read"):
        file_digest(tmp_path / "b")
