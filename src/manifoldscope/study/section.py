"""Section: one table of a study file, and how its keys are checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from manifoldscope.errors import StudyError, shortened, unknown
from manifoldscope.registry import Entry, Registry
from manifoldscope.vision.datasets import dataset_entry


def setting(default: Any, description: str, *, keyed: bool, **limits: Any) -> Any:
    """A field of the study file.

    `keyed` says whether changing it changes results, and so the keys of the units it enters. What only says where
    things are, what they are called, or how results are read is not keyed.
    """
    return Field(default, description=description, json_schema_extra={"keyed": keyed}, **limits)


def _number(value: Any) -> Any:
    """A number of images, or None for all of them."""
    if isinstance(value, str):
        if value != "all":
            raise ValueError('expected a number, or "all"')
        return None
    return value


def _some_classes(value: Any) -> Any:
    """A number of classes or a list of them, or None for all."""
    if value == "all":
        return None
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | list)):
        raise ValueError('expected a number, a list of indices and names, or "all"')
    if value == []:
        raise ValueError('expected at least one class, or "all"')
    return value


HowMany = Annotated[int | None, BeforeValidator(_number, json_schema_input_type=int | Literal["all"] | None)]
"""A number, or "all"."""

WhichClasses = Annotated[
    int | list[int | str] | None,
    BeforeValidator(_some_classes, json_schema_input_type=int | list[int | str] | Literal["all"] | None),
]
"""A number of classes, a list of indices and names, or "all"."""


class Section(BaseModel):
    """One table of the study file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class KindSection(Section):
    """The section of the study file that a kind of unit has for itself: `[[key]]`, once for each that is asked for.

    Attributes:
        key: what the study file calls it.
        column: the column of tables in which its name stands; no two names there may be equal.
    """

    key: ClassVar[str]
    column: ClassVar[str]

    name: str


class OpenSection(BaseModel):
    """A table whose further keys belong to the registered item that it names; they are checked against that item."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False, strict=True)

    @property
    def settings(self) -> dict[str, Any]:
        """The keys that belong to the registered item, checked."""
        return dict(self.model_extra or {})

    def own(self) -> dict[str, Any]:
        """The same, to be changed where the section is checked."""
        return self.__pydantic_extra__  # type: ignore[return-value]  # never None where extra keys are allowed


def entry_of(registry: Registry, name: str) -> Entry:
    """A registered item; an error of pydantic's kind where there is none of this name."""
    try:
        return registry[name]
    except StudyError as error:
        raise ValueError(str(error)) from None


def known_dataset(source: str) -> str:
    """A dataset's source as it stands; an error of pydantic's kind where there is none such."""
    try:
        dataset_entry(source)
    except StudyError as error:
        raise ValueError(str(error)) from None
    return source


def refuse_strangers(section: OpenSection, own: Mapping[str, Any], known: set[str]) -> None:
    """Refuse a key of `own` that is not known."""
    for name in own:
        if name not in known:
            given = f"{shortened(name)} = {shortened(repr(own[name]))}"
            raise ValueError(f"{given}: {unknown('setting', name, known | set(type(section).model_fields))}")


def settle(section: OpenSection, entry: Entry) -> None:
    """Check the section's further keys against the registered item, and fill in its defaults."""
    own = section.own()
    refuse_strangers(section, own, set(entry.settings.model_fields))
    try:
        checked = entry.validate(own)
    except StudyError as error:
        raise ValueError(str(error)) from None
    own.clear()
    own.update({key: value for key, value in checked.items() if value is not None})
