"""What units share while a network is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from manifoldscope.study.context import Context
from manifoldscope.study.store import Store
from manifoldscope.vision.network import logits
from tests.study.tiny import context_of, study


def untrained(tmp_path: Path, **changes: Any) -> Context:
    context = context_of(study(**changes), Store(tmp_path))
    context.networks = {name: replace(planned, checkpoint=None) for name, planned in context.networks.items()}
    return context


def test_a_clean_image_is_shown_once_while_a_network_is_loaded(tmp_path: Path) -> None:
    context = untrained(tmp_path)
    drawn = context.shown("random", "robustness")
    shown: list[int] = []
    context.network("random").module.register_forward_hook(lambda module, args, output: shown.append(len(output)))
    some = context.logits("random", drawn.subset(torch.arange(20)))
    n_shown = sum(shown)
    whole = context.logits("random", drawn)
    assert sum(shown) - n_shown < len(drawn)
    shown.clear()
    backwards = context.logits("random", drawn.subset(torch.arange(len(drawn)).flip(0)))
    assert not shown
    assert torch.equal(whole[:20], some)
    assert torch.equal(backwards.flip(0), whole)
    assert torch.allclose(whole, logits(context.network("random"), drawn), atol=1e-5)


def test_those_of_another_network_are_its_own(tmp_path: Path) -> None:
    models = [{"name": name, "source": f"small:{name}", "training": {"objective": "random"}} for name in ("cnn", "mlp")]
    context = untrained(tmp_path, models=models)
    drawn = context.shown("cnn", "robustness")
    first, other = (context.logits(name, drawn) for name in ("cnn", "mlp"))
    assert not torch.allclose(first, other)
    assert torch.equal(context.logits("cnn", drawn), first)
