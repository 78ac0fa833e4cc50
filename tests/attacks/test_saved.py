"""SavedImages images: the same outcomes from the disk, and 8-bit images that stay in their ball."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from manifoldscope.attacks import PGD, evaluate, re_evaluate, save_images
from manifoldscope.attacks.saved import load_saved_images, rounded
from manifoldscope.errors import AttackError, DataError, ModelError
from manifoldscope.vision.images import ImageSet
from tests.attacks.networks import fitted, images


def on_levels(n=24):
    drawn = images(n)
    return ImageSet.of((drawn.raw.pixels * 255).round().to(torch.uint8), drawn.labels)


@pytest.mark.parametrize("iterate", ["both", "any"])
@pytest.mark.parametrize("as_", ["float", "uint8"])
def test_a_file_gives_the_images_and_the_outcomes_at_keeping(tmp_path, as_, iterate):
    drawn, attack = on_levels(), PGD(epsilon=25 / 255, steps=4)
    network = fitted(drawn)
    found = evaluate(network, drawn, attack, iterate=iterate, keep_images=True)
    kept = save_images(network, drawn, attack, found, tmp_path / "kept.safetensors", as_=as_)
    again = re_evaluate(network, tmp_path / "kept.safetensors")
    torch.testing.assert_close(again.adversarial[0], kept.pixels, atol=0, rtol=0)
    assert dict(zip(again.table["image"], again.table["last_prediction"], strict=True)) == dict(
        zip(drawn.names, kept.tensors["predictions"].tolist(), strict=True)
    )
    robust = found.table["robust_any" if iterate == "any" else "robust_last"]
    differ = int((again.table["robust_last"] != robust).sum())
    assert differ == kept.n_changed
    assert load_saved_images(tmp_path / "kept.safetensors").metadata == kept.metadata
    assert again.table.select("attack", "parameters", "strength").row(0) == ("pgd", attack.parameters, attack.strength)
    assert robust.mean() < found.clean_accuracy
    if as_ == "float":
        assert differ == 0
        assert torch.equal(kept.pixels, found.adversarial[0])


def test_outcomes_that_rounding_changes_are_counted(tmp_path):
    drawn = on_levels()
    network, attack = fitted(drawn), PGD(epsilon=0.9 / 255, steps=1)
    found = evaluate(network, drawn, attack, keep_images=True)
    pretended = found.table.with_columns(robust_last=False)
    wrong = type(found)(pretended, found.adversarial)
    kept = save_images(network, drawn, attack, wrong, tmp_path / "kept.safetensors", as_="uint8")
    assert torch.equal(kept.tensors["images"], drawn.raw.pixels)  # below a level, nothing is left of the attack
    assert kept.n_changed == round(found.clean_accuracy * len(drawn)) > 0


@given(epsilon=st.sampled_from([0.5, 1, 2.5, 8]), seed=st.integers(0, 99))
def test_rounding_keeps_the_ball_around_8_bit_images_and_loses_less_than_a_level(epsilon, seed):
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (2, 3, 5, 5), generator=generator)
    clean = levels.to(torch.uint8).float() / 255
    moved = clean + epsilon / 255 * (2 * torch.rand(clean.shape, generator=generator) - 1)
    moved[0] = clean[0] + epsilon / 255  # the corner, where a float32 falls short of its level
    moved.clamp_(0, 1)
    whole = rounded(moved, clean).float() / 255
    assert float((whole - clean).abs().max()) <= epsilon / 255 + 1e-6
    assert float((whole - moved).abs().max()) < 1.001 / 255
    if epsilon == int(epsilon):
        torch.testing.assert_close(whole[0], moved[0], atol=1e-6, rtol=0)


def test_what_cannot_be_kept_is_refused(tmp_path):
    drawn, attack = images(8), PGD(epsilon=0.1 / 255, steps=1)
    network = fitted(drawn)
    found = evaluate(network, drawn, attack, keep_images=True)
    with pytest.raises(AttackError, match="between the 256 levels"):
        save_images(network, drawn, attack, found, tmp_path / "kept", as_="uint8")
    with pytest.raises(AttackError, match="evaluate one at a time"):
        save_images(network, drawn, attack, evaluate(network, drawn, attack), tmp_path / "kept")
    with pytest.raises(AttackError, match="the outcomes are PGD; expected what evaluate"):
        save_images(network, drawn, attack, attack, tmp_path / "kept")
    with pytest.raises(AttackError, match=r"the attack is Outcomes\(8 images.*; expected one that was made"):
        save_images(network, drawn, found, attack, tmp_path / "kept")
    with pytest.raises(ModelError, match="batch_size = 0; expected at least 1"):
        save_images(network, drawn, attack, found, tmp_path / "kept", batch_size=0)
    save_file({"weights": torch.ones(2)}, tmp_path / "other")
    with pytest.raises(DataError, match="expected a file that save_images"):
        re_evaluate(network, tmp_path / "other")
    with pytest.raises(DataError, match="cannot be read as saved images"):
        re_evaluate(network, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"images": torch.zeros(2, 1, 4)}, {}, "no images of shape"),
        ({"images": torch.full((2, 1, 4, 4), 2.0)}, {}, r"images outside \[0, 1\]"),
        ({"images": torch.full((2, 1, 4, 4), torch.nan)}, {}, r"images outside \[0, 1\]"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, {}, "no labels for its 2 images"),
        ({"predictions": torch.zeros(2)}, {}, "no predictions for its 2 images"),
        ({}, {"names": "[1"}, "metadata that cannot be read"),
        ({}, {"names": '["a"]'}, "no names for its 2 images"),
        ({}, {"strength": "much"}, "metadata that cannot be read"),
    ],
)
def test_kept_images_that_do_not_agree_with_themselves_are_refused(tmp_path, tensors, metadata, message):
    whole = {name: torch.zeros(2, dtype=torch.int64) for name in ("labels", "clean_predictions", "predictions")}
    said = {"names": '["a", "b"]', "attack": "pgd", "parameters": "", "strength": "0.1", "n_changed": "0"}
    save_file({"images": torch.zeros(2, 1, 4, 4), **whole, **tensors}, tmp_path / "x", metadata=said | metadata)
    with pytest.raises(DataError, match=message):
        load_saved_images(tmp_path / "x")


def test_a_pipe_in_place_of_kept_images_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x")
    with pytest.raises(DataError, match="named pipe"):
        load_saved_images(tmp_path / "x")
