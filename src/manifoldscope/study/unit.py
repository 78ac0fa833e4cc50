"""Unit: one piece of work, by name; and Payload: what it found.

A kind of unit is a class derived from `Unit`, in a file of its own in `study/kinds/` or in a file of the user's:

    @kind("blur")
    @dataclass(frozen=True, kw_only=True)
    class Blur(Unit):
        files = ("blur.parquet",)

        network: NetworkRef                # fields name the unit: they are its key
        image_set: ClassRef
        colour: str = unkeyed("red")       # but for those: what people and tables call its parts

It says which of them a study asks for (`of_network`, `of_study`), does the work (`compute`), makes tables of what is
stored (`rows`), and says what it costs (`need`, `seconds`). Nothing else knows of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, cast

import numpy.typing as npt
import polars as pl
from pydantic import TypeAdapter
from torch import Tensor

from manifoldscope.attacks.saved import SavedImages
from manifoldscope.registry import Registry
from manifoldscope.study.refs import NetworkRef, keyed
from manifoldscope.study.section import KindSection
from manifoldscope.tables import Schema

if TYPE_CHECKING:
    from manifoldscope.pictures import Picture
    from manifoldscope.study.context import Context, Tick
    from manifoldscope.study.cost import Costs, Need
    from manifoldscope.study.draws import Drawn, Role
    from manifoldscope.study.plan import Study
    from manifoldscope.study.planning import PlannedNetwork, Planning
    from manifoldscope.study.store import Store

KINDS = Registry("kind of unit", "manifoldscope.study.kinds")
"""Every kind of unit, by name: a frozen, keyword-only dataclass derived from `Unit`."""

Array = npt.NDArray[Any]
Gradients = Literal["none", "own", "search"]
T = TypeVar("T", bound="type[Unit]")


def kind(name: str, *, place: float = 50) -> Callable[[T], T]:
    """Decorator that registers a kind of unit; those of a lower `place` come first where an order is free."""

    def add(cls: T) -> T:
        cls.kind = name
        return KINDS.register(name, place=place)(cls)

    return add


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One piece of work, by name: small to send, run anywhere, stored once.

    Attributes:
        kind: what the kind is called.
        version: raised when the code of the kind comes to give another answer; part of the key.
        files: what its payload holds at least, by file name: without them it is not done.
        tables: those that it is the first to fill.
        section: its own section of the study file, where it has one.
        trains: it makes the weights of its network.
        gates: nothing else is asked of its network before it has succeeded.
        at_a_time: seconds of work, by the forecast, that units are computed together for: a killed run loses no more.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    files: ClassVar[tuple[str, ...]] = ()
    tables: ClassVar[tuple[Schema, ...]] = ()
    section: ClassVar[type[KindSection] | None] = None
    trains: ClassVar[bool] = False
    gates: ClassVar[bool] = False
    at_a_time: ClassVar[float] = 60.0

    # --- what a study asks for ------------------------------------------------------------------------------------

    @classmethod
    def fits(cls, study: Study) -> None:
        """Refuse a study that asks for what cannot be, with a ValueError."""

    @classmethod
    def draw(cls, study: Study, store: Store, draws: Mapping[Role, Drawn]) -> Mapping[str, Drawn]:
        """The images of other datasets that units of this kind are shown, by the name of the dataset."""
        return {}

    @classmethod
    def of_network(cls, planning: Planning, network: PlannedNetwork) -> Iterable[Self]:
        """The units of this kind that a study asks of one network, in an order in which they can run."""
        return ()

    @classmethod
    def of_study(cls, planning: Planning) -> Iterable[Self]:
        """Those that it asks for once all its networks are planned."""
        return ()

    # --- its name -------------------------------------------------------------------------------------------------

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that changes its answer, but for what other units stored: JSON values."""
        code = KINDS[self.kind].code
        return {"version": self.version, **({"code": code} if code else {}), **keyed(self)}

    @cached_property
    def key(self) -> str:
        """SHA-256 of kind, inputs and needs, as canonical JSON."""
        return key_of(self.kind, self.inputs, self.needs)

    @property
    def networks(self) -> tuple[NetworkRef, ...]:
        """The networks that it asks, its own first."""
        own = getattr(self, "network", None)
        return () if own is None else (own,)

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the units whose results it reads; they are part of its key."""
        return tuple(dict.fromkeys(ref.checkpoint for ref in self.networks if ref.checkpoint is not None))

    @property
    def after(self) -> tuple[str, ...]:
        """Keys of the units that must have succeeded first, but whose results it does not read."""
        return tuple(dict.fromkeys(key for ref in self.networks for key in ref.gate))

    @property
    def parts(self) -> tuple[str, ...]:
        """What people call its parts, beside its network and kind: ("class 3", "pgd 0.1")."""
        return ()

    @property
    def label(self) -> str:
        """What people call it: "standard · class 3 · pgd 0.1 · attack"."""
        return " · ".join([*(ref.name for ref in self.networks[:1]), *self.parts, self.kind])

    @property
    def group(self) -> tuple[str, ...]:
        """Units that share this take alike, so that a forecast that is off for one is off for the others."""
        return (self.kind, *(ref.name for ref in self.networks[:1]))

    # --- what it does ---------------------------------------------------------------------------------------------

    def compute(self, context: Context, tick: Tick) -> Payload:
        """Do the work.

        Raises:
            ManifoldscopeError: it cannot be done; the sentence is shown beside the unit's label.
        """
        raise NotImplementedError  # draws are made before units are planned: theirs is never called

    @property
    def together(self) -> tuple[Any, ...]:
        """Units that share this are computed together, about a minute of work at a time; empty: alone."""
        return ()

    @classmethod
    def compute_together(cls, units: Sequence[Self], context: Context, tick: Tick) -> Sequence[Payload]:
        """Do the work of several units that share `together`; what each finds does not depend on the others."""
        return [unit.compute(context, tick) for unit in units]

    # --- what it costs --------------------------------------------------------------------------------------------

    @property
    def gradients(self) -> Gradients:
        """Whose gradients it takes: none, the network's own, or those with which attacks search."""
        return "none"

    @property
    def measured_layers(self) -> Sequence[str]:
        """The layers that it measures."""
        return ()

    def need(self, costs: Costs) -> Need:
        """What it takes of memory, beside its network."""
        return costs.passing(1)

    def seconds(self, costs: Costs, at_once: int) -> float:
        """What it takes of time, where that many images go through the network at a time."""
        return 1.0

    # --- what it leaves -------------------------------------------------------------------------------------------

    @classmethod
    def rows(cls, store: Store, units: Sequence[Self]) -> Mapping[str, Sequence[pl.DataFrame] | pl.DataFrame]:
        """The tables that finished units of this kind fill, by name, under the names of the plan."""
        return {}

    def pictures(self, store: Store) -> Iterator[Picture]:
        """What it kept for figures."""
        yield from ()

    # --- as JSON --------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The unit as JSON values: its kind and fields."""
        return {"kind": self.kind, **_adapter_of(KINDS[self.kind].target).dump_python(self, mode="json")}


def kinds() -> list[type[Unit]]:
    """Every kind of unit, in the order in which they come where an order is free."""
    return [cast("type[Unit]", entry.target) for entry in sorted(KINDS, key=lambda entry: entry.traits["place"])]


def unit_of(raw: Mapping[str, Any]) -> Unit:
    """The unit that `to_json` gave.

    Raises:
        StudyError: a kind that is not known.
        ValueError: fields that are not those of its kind.
    """
    told = dict(raw)
    found: Unit = _adapter_of(KINDS[str(told.pop("kind"))].target).validate_python(told)
    return found


@cache
def _adapter_of(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@dataclass
class Payload:
    """What a unit found: tables, arrays, attacked images, and a few facts for its manifest.

    Attributes:
        tensors: the weights of a network, and `metadata` what their file says of them.
        files: that are to be stored as they are, by the name that they get there.
    """

    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    images: SavedImages | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def key_of(kind: str, inputs: Mapping[str, Any], needs: Sequence[str]) -> str:
    """The name of a unit: SHA-256 of kind, inputs and needs, as canonical JSON."""
    return hashlib.sha256(canonical([kind, inputs, needs]).encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
