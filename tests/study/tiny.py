"""A study of seconds: three digits, two networks."""

from __future__ import annotations

from typing import Any

from manifoldscope.study.plan import Study, parse

FOREIGN: list[dict[str, Any]] = [
    {"name": "again", "source": "digits", "same_classes": True, "images_per_class": 8},
    {"name": "others", "source": "digits", "same_classes": False, "classes": [0, 3], "images_per_class": 8},
]
"""The digits that no draw has, and digits of other classes than those that the networks know."""


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
        "threats": [{"kind": "pgd", "epsilons": [0, 0.1], "steps": 3}],
        "associations": {"bootstrap": 100, "permutations": 100},
    }
    return {**study, **changes}


def study(**changes: Any) -> Study:
    return parse(raw(**changes))
