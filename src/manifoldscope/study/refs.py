"""What a unit is named by: fields that are its key, fields that are mere names, and the parts that many kinds share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Self

from manifoldscope.attacks.perturbation import Perturbation, registered


def unkeyed(default: Any = MISSING, **settings: Any) -> Any:
    """A field that is no part of the key: changing it changes no answer."""
    return field(default=default, metadata={"unkeyed": True}, **settings)


def keyed(value: Any) -> Any:
    """A value as it enters a key: of a dataclass, the fields that are no mere names."""
    if is_dataclass(value):
        return {each.name: keyed(getattr(value, each.name)) for each in fields(value) if _in_key(each.metadata)}
    if isinstance(value, list | tuple):
        return [keyed(item) for item in value]
    return value


def names_of(value: Any) -> Any:
    """What a key leaves out of a value: what people and tables call its parts."""
    if is_dataclass(value):
        named = {
            each.name: names_of(getattr(value, each.name)) if _in_key(each.metadata) else getattr(value, each.name)
            for each in fields(value)
        }
        return {name: found for name, found in named.items() if found not in ({}, [], None)}
    if isinstance(value, list | tuple):
        return [named for item in value if (named := names_of(item))]
    return {}


def _in_key(metadata: Mapping[Any, Any]) -> bool:
    return not metadata.get("unkeyed")


@dataclass(frozen=True)
class NetworkRef:
    """A network as a unit names it.

    Attributes:
        identity: everything that says which network it is, as JSON values.
        checkpoint: the key of the unit that trains it; None where it is loaded.
        name: what tables call it.
        gate: the keys of the units that must have succeeded before anything else is asked of it.
    """

    identity: Mapping[str, Any]
    checkpoint: str | None
    name: str = unkeyed()
    gate: tuple[str, ...] = unkeyed(())


@dataclass(frozen=True)
class ClassRef:
    """The images of one class, or some in turn, as a unit names them.

    Attributes:
        digest: of the images.
        index, name: of the class.
        n_images: how many they are.
        split: of the dataset.
        first: the place of the first of them among those of the class.
    """

    digest: str
    index: int = unkeyed()
    name: str = unkeyed()
    n_images: int = unkeyed()
    split: str = unkeyed()
    first: int = unkeyed(0)

    def __str__(self) -> str:
        return f"class {self.name}" + (f" from image {self.first + 1}" if self.first else "")


@dataclass(frozen=True)
class AttackRef:
    """What is done to images, at one strength, as a unit names it.

    Attributes:
        attack: its registered name.
        attack_version: of its code.
        parameters: what else defines it, as canonical text.
        strength: in its own unit.
        name: what tables call it.
        passes: forward and gradient passes of an image at most.
    """

    attack: str
    attack_version: int | str
    parameters: str
    strength: float
    name: str = unkeyed()
    passes: tuple[int, int] = unkeyed()

    @classmethod
    def of(cls, attack: Perturbation, name: str) -> Self:
        """As the study names it."""
        return cls(
            attack.kind, registered(attack.kind).version, attack.parameters, attack.strength, name, attack.passes
        )

    def __str__(self) -> str:
        return f"{self.name} {self.strength:g}"
