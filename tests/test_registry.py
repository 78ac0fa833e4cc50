"""How items are registered, found, and their settings checked."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Literal

import pytest

from manifoldscope.errors import ManifoldscopeError, StudyError
from manifoldscope.registry import Registry


@pytest.fixture
def registry():
    made = Registry("colour", package="manifoldscope.geometry")

    @made.register("red", warm=True)
    def red(
        points: object,
        *,
        depth: float = 0.5,
        name: str | None = None,
        target: int | Literal["any", "none"] | None = None,
        powers: dict[str, float] | None = None,
    ) -> None:
        """A warm colour.

        And more.
        """

    return made


def test_an_entry_knows_its_summary_settings_and_traits(registry):
    entry = registry["red"]
    assert entry.summary == "A warm colour."
    assert entry.traits == {"warm": True}
    others = {"name": None, "target": None, "powers": None}
    assert entry.validate({}) == {"depth": 0.5, **others}
    assert entry.validate({"depth": 1}) == {"depth": 1.0, **others}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dept": 1}, "colours.0.dept: there is no setting 'dept'; did you mean 'depth'?"),
        ({"depth": "deep"}, "colours.0.depth = 'deep': input should be a valid number"),
        ({"target": "all"}, "colours.0.target = 'all': input should be a valid integer or 'any' or 'none'"),
        ({"powers": {"red": "x"}}, "colours.0.powers.red = 'x': input should be a valid number"),
    ],
)
def test_a_wrong_setting_names_key_value_and_what_was_expected(registry, settings, message):
    with pytest.raises(StudyError, match=re.escape(message)):
        registry["red"].validate(settings, where="colours.0")


def test_an_unknown_name_offers_the_nearest(registry):
    with pytest.raises(StudyError, match="there is no colour 'rad'; did you mean 'red'"):
        registry["rad"]
    with pytest.raises(StudyError, match="there is no colour 'RED'; did you mean 'red'"):
        registry["RED"]
    with pytest.raises(StudyError, match="there is no colour 'None'"):
        registry[None]


def test_what_a_class_lacks_is_named(registry):
    class Half(ABC):
        @abstractmethod
        def start(self): ...

    with pytest.raises(ManifoldscopeError, match="'half' lacks start; its class has to define"):
        registry.register("half")(Half)


def test_a_setting_without_a_type_is_named(registry):
    @registry.register("untyped")
    def untyped(*, power=2.0): ...

    with pytest.raises(StudyError, match="'untyped' gives its setting 'power' no type"):
        registry["untyped"].validate({})


def test_a_name_is_registered_once(registry):
    with pytest.raises(ManifoldscopeError, match="registered twice"):
        registry.register("red")(print)
