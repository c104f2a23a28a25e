"""What README and docs say is so: commands, options, links, pictures and the two install commands."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from phenolens.cli.app import app
from phenolens.cli.display import PACKAGES
from project import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
FOR_CONTRIBUTORS = [ROOT / name for name in ("CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md")]
ALL: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
GROUPS = {name: one.commands for name, one in ALL.items() if hasattr(one, "commands")}
COMMANDS = {name: one for name, one in ALL.items() if name not in GROUPS} | {
    f"{group} {name}": one for group, commands in GROUPS.items() for name, one in commands.items()
}
INSTALL_AND_RUN = 'python -m pip install -c constraints.txt ".[all]" && phenolens demo'
INSTALL_AND_TEST = "python -m pip install tox && tox"

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def shell_lines(page: Path) -> Iterator[str]:
    for language, body in _FENCE.findall(page.read_text(encoding="utf-8")):
        if language in ("bash", "sh", "console"):
            yield from filter(None, body.replace("\\\n", " ").splitlines())


def command_lines() -> Iterator[str]:
    for page in PAGES:
        for line in shell_lines(page):
            for part in line.split("&&"):
                if part.split()[:1] == ["phenolens"]:
                    yield part.strip()


def inline_commands() -> Iterator[str]:
    for page in PAGES:
        for code in _INLINE.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
            words = code.split()
            if words[0] == "phenolens" and words[1:2] != ["COMMAND"] and len(words) > 1:
                yield " ".join(words)


def split(line: str) -> tuple[str, list[str]]:
    """Name of the command, with its group where it has one, and what follows."""
    _, *words = shlex.split(line)
    count = 2 if words[0] in GROUPS and len(words) > 1 else 1
    return " ".join(words[:count]), words[count:]


def options_of(command: str) -> set[str]:
    return {name for parameter in COMMANDS[command].params for name in parameter.opts if name.startswith("--")}


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_pages_show_commands():
    shown = {split(line)[0] for line in command_lines()}
    assert shown == set(COMMANDS)


@pytest.mark.parametrize("line", sorted(set(command_lines())))
def test_a_command_line_that_is_shown_parses(line):
    name, arguments = split(line)
    COMMANDS[name].make_context(name, arguments)


@pytest.mark.parametrize("line", sorted(set(inline_commands())))
def test_a_command_in_the_text_exists(line):
    name, rest = split(line)
    if name.startswith("--"):
        assert name in ("--version", "--help")
        return
    if name in GROUPS:
        assert not rest
        return
    assert name in COMMANDS
    assert {word for word in rest if word.startswith("--")} <= options_of(name) | {"--help"}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_reference_lists_every_option_of_a_command(command):
    reference = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {command}\n(.*?)(?=^## )", reference, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert set(re.findall(r"^\| `(--[\w-]+)` \|", section[1], re.MULTILINE)) == options_of(command) - {"--help"}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_reference_states_the_defaults_of_a_command(command):
    reference = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    section = reference[reference.index(f"\n## {command}\n") :]
    rows = dict(re.findall(r"^\| `(--[\w-]+)` \|.*\| (.*?) ?\|$", section[: section.index("\n## ", 4)], re.MULTILINE))
    for parameter in COMMANDS[command].params:
        row = rows.get(parameter.opts[0])
        if row is None or parameter.is_flag:
            continue
        if parameter.required:
            assert row == "required"
        elif isinstance(parameter.show_default, str):
            assert row.startswith(parameter.show_default) or command == "demo"
        elif parameter.default is not None:
            assert row == str(parameter.default)


@pytest.mark.parametrize("page", [*PAGES, *FOR_CONTRIBUTORS], ids=named)
def test_links_lead_somewhere(page):
    declared = ROOT / "docs" / "screenshots.py"
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if there.parent == ROOT / "docs" / "images" and not there.is_file():
            # made by the script that takes the pictures
            assert declared.is_file()
            assert re.search(rf"\b{there.stem}\b", declared.read_text(encoding="utf-8"))
            continue
        assert there.is_relative_to(ROOT)
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_page_is_in_the_table_of_contents():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = [body.splitlines() for kind, body in _FENCE.findall(index) if kind == "{toctree}"]
    listed = [line for body in trees for line in body if line and not line.startswith(":")]
    there = {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES[1:]} - {"index"}
    assert sorted(listed) == sorted(there)


def test_tutorials_name_buttons_and_menus_that_are_there():
    package = ROOT / "src" / "phenolens"
    sources = [*package.rglob("*.py"), package / "napari.yaml"]
    code = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text(encoding="utf-8") for path in sources))
    for page in (DOCS / "tutorials").glob("*.md"):
        text = _INLINE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8"))).replace("**", "")
        names = {" ".join(name.split()) for name in re.findall(r"\*([A-Z][^*]+)\*", text)}
        labels = {name.rstrip("…") for name in names if not name.endswith((".", ":"))}
        assert len(labels) > 5, page
        assert not [label for label in labels if label not in code], page


def test_readme_has_exactly_two_install_commands():
    installing = [line for line in shell_lines(ROOT / "README.md") if "install" in line]
    assert installing == [INSTALL_AND_RUN, INSTALL_AND_TEST]


def test_contributors_are_sent_to_files_and_environments_that_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:src|tests|docs|scripts)/[^`\s]*)`", text)
    assert len(paths) > 10
    assert not [path for path in paths if "<" not in path and not (ROOT / path).exists()]
    folders = [path.rpartition("/")[0] for path in paths if "<" in path]
    assert not [folder for folder in folders if not (ROOT / folder).is_dir()]
    environments = set(re.findall(r"^\[testenv:(\w+)\]", (ROOT / "tox.ini").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`tox -e (\w+)`", text)) <= environments


def test_ci_runs_the_second_of_them():
    assert INSTALL_AND_TEST in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_system_packages_are_those_that_the_demo_names():
    assert f"apt-get install {PACKAGES}\n" in (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def test_benchmarks_named_in_the_readme_are_all_there_are():
    named_there = set(re.findall(r"benchmarks/(\w+\.py)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named_there == {path.name for path in (ROOT / "benchmarks").glob("*.py")}


def test_pages_do_not_skip_a_level_of_heading():
    for page in PAGES:
        levels = [len(marks) for marks in re.findall(r"^(#+) ", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)]
        assert levels[0] == 1, page
        assert all(after <= before + 1 for before, after in pairwise(levels)), page


def test_the_table_of_the_instrument_names_tests_that_are_there() -> None:
    page = (ROOT / "docs" / "instrument.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", page)
    assert len(named) > 25
    for path, test in named:
        assert f"def {test}(" in (ROOT / "tests" / path).read_text(encoding="utf-8"), f"{path}::{test}"
