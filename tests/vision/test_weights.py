"""Weights: what is understood, what is refused, and that all of them fit or none."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torchvision import models

from manifoldscope.errors import ModelError
from manifoldscope.vision.weights import file_digest, fit, load_weights


def make() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


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
    target = make()
    fitted = fit(target, tmp_path / name, "the target")
    assert target.state_dict()["0.weight"].dtype == torch.float32
    assert torch.equal(target.state_dict()["0.weight"], state["0.weight"].float())
    assert fitted.digest == load_weights(tmp_path / name).digest == file_digest(tmp_path / name)


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
    (tmp_path / "zeros.pt").write_bytes(bytes(1000))
    with pytest.raises(ModelError, match=r"begins with nothing but zeros.*copy it again"):
        load_weights(tmp_path / "zeros.pt")
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


class Tied(nn.Module):
    """One convolution under two names, a tied head, and state beside tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = self.same = nn.Conv2d(1, 2, 3)
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)
        self.two.weight = self.one.weight
        self.calls = 0

    def get_extra_state(self) -> int:
        return self.calls

    def set_extra_state(self, state: int) -> None:
        self.calls = state


def test_tied_parameters_one_module_under_two_names_and_extra_state_are_loaded(tmp_path: Path) -> None:
    source = Tied()
    source.calls = 7
    torch.save(source.state_dict(), tmp_path / "w.pt")
    target = Tied()
    fit(target, tmp_path / "w.pt", "the target")
    assert same(source, target)
    assert target.calls == 7
    for name in ("two.weight", "same.weight", "same.bias"):  # as a file without copies has them
        state = {key: value for key, value in source.state_dict().items() if key != name}
        fit(target := Tied(), state, "the target")
        assert same(source, target)
    state = {**source.state_dict(), "two.weight": torch.zeros(8, 8)}
    with pytest.raises(ModelError, match=r"one\.weight and two\.weight are one tensor there, and differ in the file"):
        fit(Tied(), state, "the target")


def test_modules_that_ask_for_their_version_are_loaded(tmp_path: Path) -> None:
    saved, module = (models.mnasnet0_5(num_classes=2) for _ in range(2))
    save_file(saved.state_dict(), tmp_path / "w.safetensors")
    fit(module, tmp_path / "w.safetensors", "mnasnet0_5")
    assert torch.equal(module.classifier[1].weight, saved.classifier[1].weight)


def test_save_model_says_which_names_share_a_tensor(tmp_path: Path) -> None:
    class Shared(nn.Module):
        def __init__(self, tie: bool) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            if tie:
                self.b.weight = self.a.weight

    source, target = Shared(tie=True), Shared(tie=False)
    save_model(source, str(tmp_path / "w.safetensors"))
    fit(target, tmp_path / "w.safetensors", "the target")
    assert torch.equal(target.a.weight, source.a.weight)
    assert torch.equal(target.b.weight, source.a.weight)


@pytest.mark.parametrize("prefix", ["model.", "net.", "module.backbone.", "1."])
def test_what_stands_beside_the_prefix_of_a_network_is_left_with_a_warning(prefix: str) -> None:
    source, target = make(), make()
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    with pytest.warns(UserWarning, match=r"1 other tensors of the file were not \(criterion\.pos_weight\)"):
        fitted = fit(target, {**state, "criterion.pos_weight": torch.ones(3)}, "the target")
    assert same(source, target)
    assert len(fitted.notes) == 1


def test_averaged_models_and_parallel_parts_need_no_word() -> None:
    source, target = make(), make()
    fit(target, AveragedModel(source).state_dict(), "the target")
    assert same(source, target)
    state = {name.replace("3.", "3.module."): tensor for name, tensor in source.state_dict().items()}
    fit(target := make(), state, "the target")
    assert same(source, target)


def test_the_weights_themselves_are_taken_and_an_average_beside_them_is_said(tmp_path: Path) -> None:
    source, average, target = make(), make(), make()
    state = {"state_dict": source.state_dict(), "state_dict_ema": average.state_dict()}
    torch.save({**state, "args": argparse.Namespace(lr=0.1), "score": np.float64(0.5)}, tmp_path / "w.pt")
    with pytest.warns(UserWarning, match="weights under 'state_dict' were taken; 'state_dict_ema'"):
        fit(target, tmp_path / "w.pt", "the target")
    assert same(source, target)
    for alone in ({"state_dict_ema": source.state_dict()}, {"ema": {"module": source.state_dict(), "decay": 0.9}}):
        torch.save(alone, tmp_path / "w.pt")
        with pytest.warns(UserWarning, match="the file holds only an average of the weights, under"):
            fit(target := make(), tmp_path / "w.pt", "the target")
        assert same(source, target)
    inside = {
        f"{name}.{key}": value
        for name, net in (("net", source), ("net_ema", average))
        for key, value in net.state_dict().items()
    }
    with pytest.warns(UserWarning, match="network under 'net.' was taken"):
        fit(target := make(), inside, "the target")
    assert same(source, target)


def test_several_networks_that_fit_are_not_chosen_from(tmp_path: Path) -> None:
    state = {f"{name}.{key}": value for name in ("left", "right") for key, value in make().state_dict().items()}
    with pytest.raises(ModelError, match=r"several networks that fit the target and differ, under 'left\.', 'right\.'"):
        fit(make(), state, "the target")
    torch.save([make().state_dict(), make().state_dict()], tmp_path / "w.pt")
    with pytest.raises(ModelError, match="a list of 2 networks"):
        load_weights(tmp_path / "w.pt")
    torch.save({"G": make().state_dict(), "D": make().state_dict()}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"several tables of tensors \(G, D\)"):
        load_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (("mu", "sigma"), ""),
        (("normalize.mean", "normalize.std"), "model."),
        (("module.normalizer.new_mean", "module.normalizer.new_std"), "module.model."),
        (("0.mean", "0.std"), "1."),
    ],
)
@pytest.mark.parametrize("entry", ["last", "state_dict", "model"])
def test_normalisation_beside_the_weights_is_found(
    tmp_path: Path, names: tuple[str, str], prefix: str, entry: str
) -> None:
    source, target = make(), make()
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    values = (torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1), torch.full((1, 3, 1, 1), 0.25))
    torch.save({entry: state | dict(zip(names, values, strict=True))}, tmp_path / "w.pt")
    found = fit(target, tmp_path / "w.pt", "the target").normalisation
    assert same(source, target)
    assert found is not None
    assert (found.mean, found.std) == ((0.4, 0.5, 0.6), (0.25,) * 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to_sparse(), "sparse"),
        (lambda t: t.to("meta"), "meta device"),
        (lambda t: t.to(torch.float8_e4m3fn), "quantised"),
        (lambda t: t.round().long(), r"3\.weight is int64 where float32 is expected"),
        (lambda t: t > 0, r"3\.weight is bool where float32"),
        (lambda t: t.to(torch.complex64), r"3\.weight is complex64 where float32"),
    ],
)
def test_tensors_without_plain_floating_point_values_are_refused(
    tmp_path: Path, change: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    state = make().state_dict()
    torch.save({**state, "3.weight": change(state["3.weight"])}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=message):
        fit(make(), tmp_path / "w.pt", "the target")


def test_counters_may_have_been_saved_as_numbers_of_another_type_and_double_becomes_single() -> None:
    state = {name: tensor.double() for name, tensor in make().state_dict().items()}
    fit(target := make(), state, "the target")
    assert {tensor.dtype for tensor in target.state_dict().values()} == {torch.float32, torch.int64}


def test_weights_that_are_not_finite_are_said() -> None:
    state = make().state_dict()
    state["3.weight"][0, 0] = torch.nan
    with pytest.warns(UserWarning, match=r"the target: 1 tensors hold NaN or infinity \(3\.weight\)"):
        fit(make(), state, "the target")


def test_the_file_whose_weights_do_not_fit_is_named(tmp_path: Path) -> None:
    torch.save({"3.weight": torch.zeros(3, 8)}, tmp_path / "net.pt")
    with pytest.raises(ModelError, match=r"^the weights of net\.pt do not fit the target, which has"):
        fit(make(), tmp_path / "net.pt", "the target")


def test_another_architecture_is_suspected_only_where_it_is_likely() -> None:
    state = make().state_dict()
    for change, message in (
        (
            {"3.weight": torch.zeros(5, 8), "3.bias": torch.zeros(5)},
            r"whose layer 3 has 5 outputs and not 3; give the number",
        ),
        ({"4.weight": torch.zeros(2)}, r"1 unexpected \(4\.weight\)\. They are of a larger network, or"),
    ):
        with pytest.raises(ModelError, match=message) as refused:
            fit(make(), {**state, **change}, "the target")
        assert "architecture" not in str(refused.value)
    with pytest.raises(ModelError, match=r"1 missing \(3\.bias\)\. The file is incomplete"):
        fit(make(), {name: value for name, value in state.items() if name != "3.bias"}, "the target")
    with pytest.raises(ModelError, match="another architecture"):
        fit(make(), {f"x{name}": value for name, value in state.items()}, "the target")


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a").startswith("ba7816bf8f01cfea")
    with pytest.raises(ModelError, match="cannot be read"):
        file_digest(tmp_path / "b")
