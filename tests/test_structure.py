"""The house as it is meant to be: no circle between files, no crowded folder, no file or function that is too long."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from project import ROOT

PACKAGE = ROOT / "src" / "phenolens"
FILES = {
    ".".join(("phenolens", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
ENGINE = ("evaluation", "translation", "profiling", "pretraining", "samples", "screens", "simulation", "runtime")
API = ("jobs", "api")
LONGEST = dict.fromkeys(ENGINE, 80) | dict.fromkeys(API, 90)
"""Lines that a function may have, by room: in the API, docstrings with their examples are long."""


def imports(name: str) -> set[str]:
    """The files of the package that a file imports when it is loaded, and those it names for its types alone."""
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    at_once = [*tree.body, *(inner for outer in tree.body if isinstance(outer, ast.If) for inner in outer.body)]
    found = set()
    for node in at_once:
        if isinstance(node, ast.ImportFrom) and node.module:
            full = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {one if one in FILES else node.module for one in full}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & FILES.keys()) - {name}


def test_no_two_files_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter({name: imports(name) for name in FILES}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_folder_is_crowded() -> None:
    folders = {path.parent for path in FILES.values()}
    crowded = {str(folder.relative_to(ROOT)): n for folder in folders if (n := len(list(folder.glob("*.py")))) > 26}
    assert not crowded


def test_no_file_is_long() -> None:
    long = {name: n for name, path in FILES.items() if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long


def test_no_function_of_the_engine_is_long() -> None:
    long = {}
    for name, path in FILES.items():
        longest = LONGEST.get(name.removeprefix("phenolens.").partition(".")[0])
        if longest is None:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (lines := (node.end_lineno or 0) - node.lineno + 1) > longest:
                long[f"{name}.{node.name}"] = lines
    assert not long


def test_json_of_others_is_read_in_one_place() -> None:
    """`runtime/json_files.py` bounds its size and depth; what a process of our own says through a pipe is ours."""
    own = {"phenolens.runtime.json_files", "phenolens.runtime.guarded_process"}
    readers = {
        name
        for name, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.load", "json.loads", "pd.read_json"))
        or (isinstance(node, ast.ImportFrom) and node.module in ("json", "orjson", "ujson", "simplejson"))
    }
    assert readers == own


def test_processes_are_shared_out_in_one_place() -> None:
    """`runtime/pools.py` ends them with their parent; `guarded_process.py` starts another kind."""
    makers = {
        name
        for name, path in FILES.items()
        if re.search(
            r"ProcessPoolExecutor|get_context\(|multiprocessing\.Pool|os\.fork", path.read_text(encoding="utf-8")
        )
    }
    assert makers == {"phenolens.runtime.pools"}


STATES = {
    "widgets.state.session": {"session", "_session", "main", "_followed"},
    "widgets.map.session": {"_session", "session"},
}
"""Files that hold the state of a dock, and what others call it."""
MUTATING = {"append", "clear", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update", "add", "discard"}


def changed_from_outside(tree: ast.AST, names: set[str]) -> list[int]:
    """Lines that change the state of a session: ``session.crop = 64``, ``session.translated[plane] = {}``, `pop`..."""

    def is_session(node: ast.expr) -> bool:
        return (isinstance(node, ast.Name) and node.id in names) or (
            isinstance(node, ast.Attribute) and node.attr in names
        )

    def is_state(node: ast.expr) -> bool:
        while isinstance(node, ast.Subscript):
            node = node.value
        return isinstance(node, ast.Attribute) and is_session(node.value)

    found = []
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            for target in node.targets:
                targets += target.elts if isinstance(target, ast.Tuple) else [target]
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Delete):
            targets = node.targets
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATING:
            targets = [node.func.value]
        found += [target.lineno for target in targets if is_state(target)]
    return found


def test_a_session_is_changed_by_its_methods_alone() -> None:
    broken = "a.session.crop = 1; session.n += 1; del main.x; self._session.translated[1] = 2; session.here.pop(1)"
    assert len(changed_from_outside(ast.parse(broken), {"session", "_session", "main"})) == 5
    assert not changed_from_outside(
        ast.parse("self.session = Session(); x = session.crop; session.add_cell(1)"), {"session"}
    )
    names = set().union(*STATES.values())
    changing = {
        str(path.relative_to(ROOT)): lines
        for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]
        if (lines := changed_from_outside(ast.parse(path.read_text(encoding="utf-8")), names))
    }
    assert not changing


def test_every_room_with_a_limit_is_there() -> None:
    rooms = {name.split(".")[1] for name in FILES if name != "phenolens"}
    assert not LONGEST.keys() - rooms


def test_every_room_of_tests_is_a_room_of_the_package() -> None:
    own = {"faults", "figures", "packaging", "support"}
    rooms = {folder.relative_to(ROOT / "tests") for folder in (ROOT / "tests").rglob("*") if any(folder.glob("*.py"))}
    strange = {room for room in rooms if room.parts[0] not in own and not (PACKAGE / Path(room)).is_dir()}
    assert not strange


def test_the_architecture_page_names_every_room_and_no_other() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("| room | what one finds in it |")[1].split("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`([a-z_/]+)`", row.split("|")[1])}
    rooms = {
        str(folder.relative_to(PACKAGE))
        for folder in {path.parent for path in FILES.values()} - {PACKAGE}
        if any(path.name != "__init__.py" for path in folder.glob("*.py"))
    }
    passages = {room for room in rooms if room == "widgets"}  # what napari.yaml names lies there
    assert named == rooms - passages


def test_every_file_that_the_architecture_page_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_0-9]+\.py)`", page))
    assert named, "the page names files"
    missing = {name for name in named if not (PACKAGE / name).is_file() and not (ROOT / name).is_file()}
    assert not missing
