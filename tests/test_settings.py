"""Settings made in Python are held to the types that they are written with."""

from __future__ import annotations

import doctest
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest

from manifoldscope import settings
from manifoldscope.errors import StudyError
from manifoldscope.settings import check_setting, check_settings


@dataclass(frozen=True, kw_only=True)
class Made:
    share: float = 0.5
    steps: int | None = None
    norm: Literal["linf", "l2"] = "linf"
    layers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_settings(StudyError, self)


def test_the_example_holds() -> None:
    assert doctest.testmod(settings).failed == 0


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.int64(2), Fraction(1, 2)])
def test_every_real_number_is_a_number(value: Any) -> None:
    assert Made(share=value).share == value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": None}, "^share = None; expected a number$"),
        ({"share": True}, "^share = True; expected a number$"),
        ({"share": np.ones(2)}, r"^share = array\(\[1., 1.\]\); expected a number$"),
        ({"share": "x" * 500}, r"^share = 'x+\.\.\. \(502 characters\); expected a number$"),
        ({"steps": 2.0}, "^steps = 2.0; expected a whole number or None$"),
        ({"steps": 2**63}, r"^steps = 9223372036854775808; expected a number below 2\*\*63$"),
        ({"share": -(10**400)}, r"^share = -10+\.\.\. \(402 characters\); expected a number below 2\*\*63$"),
        ({"norm": "L2"}, "^norm = 'L2'; expected 'linf' or 'l2'; did you mean 'l2'"),
        ({"norm": None}, "^norm = None; expected 'linf' or 'l2'$"),
        ({"norm": ["l2"]}, r"^norm = \['l2'\]; expected 'linf' or 'l2'$"),
    ],
)
def test_what_is_of_another_type_is_one_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Made(**changes)


def test_types_that_no_study_file_checks_are_left_to_the_class() -> None:
    unchecked: Any = 5
    assert Made(layers=unchecked).layers == 5


def test_true_is_no_word_and_no_number() -> None:
    check_setting(StudyError, "on", True, bool)
    with pytest.raises(StudyError, match="on = 1; expected true or false"):
        check_setting(StudyError, "on", 1, bool)
