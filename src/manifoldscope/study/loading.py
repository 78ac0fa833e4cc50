"""Study files: built-in ones and people's own, with changes by dotted key, to a `Study`; and their JSON schema."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_origin

from pydantic import ValidationError

from manifoldscope import plugins
from manifoldscope.attacks.perturbation import ATTACKS, CORRUPTIONS
from manifoldscope.errors import StudyError, shortened, unknown
from manifoldscope.files import read_bytes
from manifoldscope.geometry.measures import MEASURES
from manifoldscope.registry import Entry, describe
from manifoldscope.study.challenges import AttackPlan, strength_setting
from manifoldscope.study.model_table import expanded, origin_of
from manifoldscope.study.plan import Study, study_model
from manifoldscope.training.objectives import OBJECTIVES
from manifoldscope.vision.datasets import source_schema
from manifoldscope.vision.defences import DEFENCES
from manifoldscope.vision.sources import SOURCES

PRESETS = "manifoldscope.study.presets"

LARGEST_FILE = 2**20
"""Bytes of a study file, at most."""

DEEPEST = 16
"""How many tables and lists may lie within each other."""

RENAMED = {
    "threats": "[[attacks]] for attacks, [[corruptions]] for common corruptions",
    "smallest": "[[minimal]]",
    "foreign": "[[shifts]] for the same classes, [[ood]] for others",
    "sensitivity": "jacobian_norm",
}
"""Keys of the study file that were called otherwise."""


JARGON = {
    r"input should be a valid dictionary or instance of \w+$": "expected a table, as { KEY = VALUE }",
    r"list should have at least 1 item after validation, not 0$": "expected at least one",
}
"""What pydantic says of a study file, and what is said instead."""


def load(study: str | Path, changes: Mapping[str, Any] | Iterable[str] = ()) -> Study:
    """A study from a built-in name or a TOML file, with changes by dotted key.

    Args:
        study: "digits", or a path that ends in .toml.
        changes: {"data.geometry.images_per_class": 50}, or ["models.0.weights=FILE"] as `--set` takes them.
            Nothing ("models.0.weights=", or None) leaves a key out, or an entry of a list.

    Raises:
        StudyError: no such study, not TOML, an unknown key, a wrong type or an impossible value; the sentence names
            the key, the value, what was expected and the nearest valid name.
    """
    path = Path(study)
    if path.suffix == ".toml" or _exists(path):
        try:
            text = read_bytes(path, at_most=LARGEST_FILE).decode("utf-8-sig")
        except OSError as error:
            raise StudyError(f"the study file {path} cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise StudyError(f"the study file {path} is no UTF-8 text ({error.reason} at byte {error.start})") from None
    else:
        try:
            text = preset_text(str(study))
        except StudyError as error:
            raise StudyError(f"{error} (or give the path of a .toml file)") from None
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, or brackets without end
        raise StudyError(f"{path} is not valid TOML: {shortened(str(error), 200)}") from None
    pairs = changes.items() if isinstance(changes, Mapping) else map(parse_change, changes)
    for key, value in pairs:
        _put(raw, key, value)
    return parse(raw)


def parse(raw: Mapping[str, Any], *, run_plugins: bool = True) -> Study:
    """A study from nested tables, as TOML gives them; its plug-ins are run first. Raises StudyError."""
    _require_bounded(raw)
    asked = raw.get("plugins", [])
    if run_plugins and isinstance(asked, list) and all(isinstance(name, str) for name in asked):
        plugins.load(asked)
    for old, new in RENAMED.items():
        if old in raw:
            raise StudyError(f"{old}: there is no setting {old!r} any more; write {new}")
    full = {**raw, "models": expanded(raw["models"])} if "models" in raw else raw
    fields = study_model().model_fields
    for key, value in full.items():
        if isinstance(value, Mapping) and key in fields and get_origin(fields[key].annotation) is list:
            raise StudyError(f"{key}: expected a list of tables; write [[{key}]] for [{key}], once for each")
    try:
        return study_model().model_validate(full)
    except ValidationError as error:
        said = describe(error, "", study_model())
        for jargon, words in JARGON.items():
            said = re.sub(jargon, words, said)
        network = re.match(r"models\.(\d+)", said)
        raise StudyError(said + (origin_of(raw["models"], int(network[1])) if network else "")) from None


def parse_change(text: str) -> tuple[str, Any]:
    """`key=value` -> (key, value): read as TOML, as plain text where it is no TOML, and None where there is nothing."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise StudyError(f"--set {text}: expected KEY=VALUE, for example data.geometry.images_per_class=50")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return key.strip(), value.strip() or None


def preset_names() -> list[str]:
    """The built-in studies."""
    return sorted(
        item.name.removesuffix(".toml") for item in resources.files(PRESETS).iterdir() if item.name.endswith(".toml")
    )


def preset_text(name: str) -> str:
    """A built-in study as it stands in its file, comments and all."""
    if name not in preset_names():
        raise StudyError(unknown("built-in study", name, preset_names()))
    return (resources.files(PRESETS) / f"{name}.toml").read_text(encoding="utf-8")


def _put(raw: dict[str, Any], key: str, value: Any) -> None:
    steps = key.split(".")
    at: Any = raw
    for depth, step in enumerate(steps):
        where = ".".join(steps[: depth + 1])
        last = depth == len(steps) - 1
        if isinstance(at, list):
            if not step.isdigit() or int(step) >= len(at):
                raise StudyError(f"--set {key}: {where} does not exist; expected a number from 0 to {len(at) - 1}")
            if last:
                at[int(step) : int(step) + 1] = [] if value is None else [value]
                return
            if isinstance(at[int(step)], str):  # the short form of a measure
                at[int(step)] = {"name": at[int(step)]}
            at = at[int(step)]
        elif isinstance(at, dict):
            if last and value is None and step in at:
                del at[step]
            elif last:
                at[step] = value
            elif step not in at and steps[depth + 1].isdigit():
                raise StudyError(
                    f"--set {key}: the study has no list {where}; add a [[{where}]] to the file, or give all of it: "
                    f"--set '{where}=[{{ {steps[-1]} = ... }}]'"
                )
            else:
                at = at.setdefault(step, {})
        else:
            raise StudyError(f"--set {key}: {'.'.join(steps[:depth])} is a value and has no keys of its own")


def _require_bounded(raw: Any) -> None:
    """Refuse what no study file holds, and what would exhaust whoever walks through it.

    Raises:
        StudyError: tables within tables without end, or a number that is none of 64 bits.
    """
    level = [raw]
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise StudyError(f"a number of {value.bit_length():,} bits stands in the study; expected 64 at most")
            if isinstance(value, str) and ("\0" in value or not _is_unicode(value)):
                raise StudyError(f"{shortened(value)!r} holds a null character or bytes that are no text; give another")
            if isinstance(value, Mapping):
                inner += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple):
                inner += value
        level = inner
        if not level:
            return
    raise StudyError(f"the study has tables or lists within each other more than {DEEPEST} deep; expected a few")


def _exists(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # a name that is too long, or holds a null character
        return False


def _is_unicode(text: str) -> bool:
    """Whether a text can be written down: the name of a file or an argument may hold stray bytes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def json_schema() -> dict[str, Any]:
    """A JSON schema of the study file, for editors: each open table lists the settings of every item it may name."""
    schema = study_model().model_json_schema()
    definitions = schema["$defs"]
    for section, key, registry in (
        ("TrainingPlan", "objective", OBJECTIVES),
        ("DefencePlan", "name", DEFENCES),
        ("MeasurePlan", "name", MEASURES),
        ("AttackPlan", "kind", ATTACKS),
        ("CorruptionPlan", "kind", CORRUPTIONS),
        ("ModelPlan", "source", SOURCES),
    ):
        definitions[section]["oneOf"] = [_alternative(entry, key, definitions) for entry in registry]
    for definition in definitions.values():
        if {"source", "root"} <= definition.get("properties", {}).keys():
            definition["properties"]["source"] |= source_schema()
    measures = schema["properties"]["measures"]
    measures["items"] = {"anyOf": [{"enum": MEASURES.names()}, measures["items"]]}
    return schema


def _alternative(entry: Entry, key: str, definitions: dict[str, Any]) -> dict[str, Any]:
    own = entry.settings.model_json_schema()
    definitions.update(own.pop("$defs", {}))
    properties = own.get("properties", {})
    if key == "kind":
        singular = strength_setting(entry)
        properties[AttackPlan.strengths_key(entry)] = {"type": "array", "items": properties.pop(singular)}
    name = {"pattern": f"^{entry.name}:"} if key == "source" else {"const": entry.name}
    return {"title": entry.summary, "properties": {key: name, **properties}}
