"""The field's own words: one that was given up does not come back into code, study files, docs or the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    path
    for folder in ("src", "docs", "examples")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".toml", ".md", ".html", ".js"}
] + [ROOT / "README.md"]

INSTEAD = {
    r"threats?(?! models?\b)|Threats?": "attack, corruption or perturbation",
    r"[Vv]erdicts?": "outcome",
    r"survived_(last|any)|n_survived|(images|classes|networks) (that )?surviv\w+|survivors?": "robust",
    r"felled|fells|n_fell|n_falls": "misclassified",
    r"smallest_(perturbation|strength)|smallest perturbations?": "minimal perturbation, minimal_epsilon",
    r"n_known|n_foreign|known_train|foreign (images?|ones?|datasets?)": "in-distribution, OOD",
    r"natural training|Natural": "standard training",
    r"made_on|judged_on|(made|judged) on (each|every|one|another)": "source and target model",
    r"rejudge|load_kept|Kept": "save, re-evaluate",
    r"guesse[sd]|guessers?|does better than guess|loss of guessing": "at chance level",
    r"centre_(distance|correlation|cosine)|nearest_centre|class centres?": "centroid",
    r"set_aside|set aside": "skipped",
    r"doubts|plate|bench|gallery": "caveats, figure",
    r"sooner|dear": "faster, expensive",
    r"where left out": "if omitted",
}
"""Patterns of words, and what to write instead."""

ALLOWED = re.compile(
    r"""^RENAMED|^    "(threats|smallest|foreign|sensitivity)": |any more; write |"""
    r"""(derive|generator|numpy_generator|seeded|partial)\(""",
    re.MULTILINE,
)
"""Lines that name an old word on purpose: errors for old study files, and the names of random streams."""


@pytest.mark.parametrize("pattern", INSTEAD, ids=lambda pattern: INSTEAD[pattern])
def test_no_word_that_was_given_up_returns(pattern: str) -> None:
    word = re.compile(rf"\b({pattern})\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if word.search(line) and not ALLOWED.search(line)
    ]
    assert not found, f"write {INSTEAD[pattern]}:\n" + "\n".join(found)
