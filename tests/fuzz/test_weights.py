"""Mutated files of weights: loaded, or refused in one sentence; no other error, no hang, and bounded memory."""

from __future__ import annotations

import io
import json

import pytest
import torch
from safetensors.torch import save
from torch import nn

from manifoldscope.attacks.saved import load_saved_images
from manifoldscope.vision.weights import fit, load_weights
from tests.fuzz.law import bounded_memory, success_or_one_sentence
from tests.fuzz.mutate import budget, mutations


def make() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def saved(content, *, zipped=True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def kept() -> bytes:
    whole = {name: torch.zeros(2, dtype=torch.int64) for name in ("labels", "clean_predictions", "predictions")}
    said = {"names": json.dumps(["a", "b"]), "attack": "pgd", "parameters": "", "strength": "0.1", "n_changed": "0"}
    return save({"images": torch.zeros(2, 1, 4, 4), **whole}, metadata=said)


CHECKPOINT = {"state_dict": {f"module.{name}": value for name, value in make().state_dict().items()}, "epoch": 3}
FILES = {
    "safetensors": save(make().state_dict(), metadata={"3.bias": "0.bias"}),
    "zip": saved(CHECKPOINT),
    "legacy": saved(CHECKPOINT, zipped=False),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.filterwarnings("ignore")  # what was not taken, or is not finite
def test_mutated_weights_are_loaded_or_refused(kind, tmp_path):
    with bounded_memory():
        for content in mutations(FILES[kind], budget(100), seed=1):
            (tmp_path / "w").write_bytes(content)
            with success_or_one_sentence():
                load_weights(tmp_path / "w")
            with success_or_one_sentence():
                fit(make(), tmp_path / "w", "the network")


def test_mutated_kept_images_are_loaded_or_refused(tmp_path):
    for content in mutations(kept(), budget(100), seed=2):
        (tmp_path / "x").write_bytes(content)
        with success_or_one_sentence():
            load_saved_images(tmp_path / "x")
