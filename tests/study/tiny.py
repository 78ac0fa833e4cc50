"""A study of seconds: three digits, two networks."""

from __future__ import annotations

from typing import Any

import torch

from manifoldscope.study.context import Context
from manifoldscope.study.draws import Drawn, draw_images
from manifoldscope.study.loading import parse
from manifoldscope.study.plan import Study
from manifoldscope.study.planning import plan_units
from manifoldscope.study.refs import keyed as keyed
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Unit, kinds

SHIFTS: list[dict[str, Any]] = [{"name": "again", "source": "digits", "images_per_class": 8}]
"""The digits that no draw has."""

OOD: list[dict[str, Any]] = [{"name": "others", "source": "digits", "classes": [0, 3], "images_per_class": 8}]
"""Digits of other classes than those that the networks know."""

OTHERS: dict[str, Any] = {"shifts": SHIFTS, "ood": OOD}


def raw(**changes: Any) -> dict[str, Any]:
    study: dict[str, Any] = {
        "name": "tiny",
        "layers": ["flatten", "penultimate"],
        "batch_size": 16,
        "data": {
            "source": "digits",
            "classes": [1, 4, 7],
            "geometry": {"images_per_class": 12},
            "robustness": {"images_per_class": 10},
            "training": {"images_per_class": 20},
        },
        "models": [
            {"name": "random", "source": "small:cnn", "training": {"objective": "random"}},
            {
                "name": "adversarial",
                "source": "small:cnn",
                "training": {"objective": "adversarial", "epsilon": 0.1, "steps": 2, "epochs": 6, "batch_size": 20},
            },
        ],
        "measures": ["pca_dimension", "participation_ratio"],
        "attacks": [{"kind": "pgd", "epsilons": [0, 0.1], "steps": 3}],
        "associations": {"permutations": 100},
    }
    return {**study, **changes}


def study(**changes: Any) -> Study:
    return parse(raw(**changes))


def others_of(study: Study, store: Store) -> dict[str, Drawn]:
    draws = draw_images(study, store)
    return {name: drawn for kind in kinds() for name, drawn in kind.draw(study, store, draws).items()}


def planned(study: Study, store: Store) -> list[Unit]:
    return plan_units(study, draw_images(study, store), others_of(study, store))[0]


def of_kind(units: Any, name: str) -> list[Any]:
    return [unit for unit in units if unit.kind == name]


def context_of(study: Study, store: Store) -> Context:
    draws, others = draw_images(study, store), others_of(study, store)
    return Context(study, store, draws, plan_units(study, draws, others)[1], torch.device("cpu"), others)
