"""Modules become one script: in order, each by what it exports, and nothing that is not understood."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from manifoldscope.errors import ManifoldscopeError
from manifoldscope.report.explore.view import WEB, scripts
from manifoldscope.report.linking import linked


def module(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


MAIN = """import { add } from "./add.js";
export function main(views) {
  console.log(add(1, views.one.n), typeof add);
}
"""


def test_modules_come_before_those_that_need_them(tmp_path: Path) -> None:
    module(tmp_path, "add.js", "// says nothing\nexport const add = (a, b) => a + b;\n")
    main = module(tmp_path, "main.js", MAIN)
    one = module(
        tmp_path, "one.js", 'import { add as plus } from "./add.js";\nexport const view = { n: plus(2, 3) };\n'
    )
    script = linked(main, {"one": one})
    assert script.index("a + b") < script.index("plus(2, 3)") < script.index("console.log")
    assert script.count("a + b") == 1
    assert "says nothing" not in script
    if node := shutil.which("node"):
        assert subprocess.run([node, "-e", script], capture_output=True, text=True, check=True).stdout == "6 function\n"


def test_a_module_elsewhere_takes_from_the_package_by_name(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    module(tmp_path, "add.js", "export const add = (a, b) => a + b;\n")
    main = module(tmp_path, "main.js", MAIN)
    one = module(
        elsewhere, "one.js", 'import { add } from "manifoldscope/add.js";\nexport const view = { n: add(2, 3) };\n'
    )
    assert linked(main, {"one": one}).count("a + b") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('import x from "./add.js";', "import x from"),
        ('import * as x from "./add.js";', "import * as x"),
        ("export default 3;", "export default 3"),
        ("const a = 1;\nexport { a };", "export { a }"),
        ('import { a } from "./nowhere.js";', "nowhere.js, which main.js needs, cannot be read"),
        ('import { a } from "./main.js";', "main.js needs itself"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str, said: str) -> None:
    module(tmp_path, "add.js", "export const add = 1;\n")
    with pytest.raises(ManifoldscopeError) as error:
        linked(module(tmp_path, "main.js", text + "\n"), {})
    assert said in str(error.value)


def test_a_view_has_a_name_that_scripts_can_have(tmp_path: Path) -> None:
    main = module(tmp_path, "main.js", "export function main() {}\n")
    with pytest.raises(ManifoldscopeError, match="letters, digits and underscores"):
        linked(main, {'a"b': module(tmp_path, "one.js", "export const view = 1;\n")})


def test_the_script_of_the_page_is_small_and_needs_no_eval() -> None:
    script = linked(WEB / "main.js", {"scatter": WEB / "views" / "scatter.js", **scripts()})
    assert len(script.encode()) < 500_000
    assert "</script" not in script
    for forbidden in ("eval(", "new Function", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"):
        assert forbidden not in script, forbidden


def test_modules_are_short() -> None:
    for path in WEB.rglob("*.js"):
        if path.parent.name != "vendor":
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path.name
