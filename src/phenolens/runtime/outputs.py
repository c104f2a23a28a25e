"""Output folders that are replaced as a whole: by the command that made them only, and nothing else with them.

Each has a mark, `MARK`, which names the kind of output and the files that were written. What the mark does not list is
somebody else's, and is never removed.
"""

import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenolens.runtime.drives.network import move
from phenolens.runtime.errors import OutputError
from phenolens.runtime.files import (
    absolute,
    is_temporary,
    output_error,
    remove,
    temporary_name,
    write_json,
    writing_folder,
)
from phenolens.runtime.interrupts import unbroken
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.output_kinds import KINDS, Kind
from phenolens.runtime.processes import Process, this_process

MARK = ".phenolens.json"
_FORMAT = 1
_NAMED = 5
_LONGEST_NAME = 200  # bytes; file systems allow 255, of which temporary names take a part
# What desktops leave in every folder that they show.
_NOBODYS = {".DS_Store", "Thumbs.db", "desktop.ini"}
_REPLACED = ".replaced-"


def check_output(folder: str | os.PathLike[str], kind: Kind, overwrite: bool = False) -> Path:
    """Make sure, before any work, that a folder can become an output of this kind and that nothing else is lost.

    A folder that is not there, or empty, will do; and one with an earlier output of the same kind and nothing else.

    Parameters
    ----------
    overwrite
        Let any output of phenolens be replaced. What others have put into the folder stays where it is all the same.

    Returns
    -------
    Path
        The folder's absolute path.

    Raises
    ------
    OutputError
        The folder holds something else, is a file, or is the one that the program runs in. The message names the files
        that would go.
    """
    target = _target(folder)
    if len(os.fsencode(target.name)) > _LONGEST_NAME:
        raise OutputError(f"The name {target.name[:20]}... is too long for a folder: give a shorter one.")
    with _readable(folder):
        content = _content(target)
    if not content:
        return target
    if overwrite and content.kind is not None and all(one.name != content.kind for one in KINDS):
        raise OutputError(
            f"{folder} holds results that were made one by one ({content.kind}), which are not replaced as a whole: "
            "choose another folder, or remove it yourself."
        )
    if not overwrite and content.kind != kind.name:
        what = _what(content.kind)
        raise OutputError(
            f"{folder} exists and is not {kind.what}: choose another folder, so that nothing is overwritten. It "
            + (f"is {what}, with " if what else "holds ")
            + named([*content.ours, *content.depends, *content.others])
            + (", which --overwrite would replace." if what else ".")
        )
    if not overwrite and (content.depends or content.others):
        raise OutputError(
            f"{folder} is {kind.what}, but holds more than that: {named([*content.depends, *content.others])}. Choose "
            "another folder, or give --overwrite, which "
            + ("replaces all of it." if not content.others else "leaves in place what phenolens did not write.")
        )
    in_the_way = [path for path in content.others if kind.writes(path)]
    if in_the_way:
        raise OutputError(
            f"{folder} holds files that phenolens did not write, and that the new ones would replace: "
            f"{named(in_the_way)}. Choose another folder, or move them away."
        )
    return target


@contextmanager
def writing_output(folder: str | os.PathLike[str], kind: Kind, overwrite: bool = False) -> Iterator[Path]:
    """Write an output folder whole or not at all, with its mark.

    Yields a new temporary folder beside `folder`, which takes its place when the block ends; when the block raises,
    what was there stays. Files of others that appear in the old folder meanwhile are moved into the new one.

    Raises
    ------
    OutputError
        As `check_output`, or where the folder cannot be written.
    """
    target = check_output(folder, kind, overwrite)
    finish_replacing(target.parent)

    def place(new: Path, where: Path) -> None:
        _put(new, where, overwrite)

    with writing_folder(target, place) as new:
        yield new
        write_mark(new, kind.name, _files(new))


def write_mark(folder: Path, kind: str, files: list[str], **more: Any) -> None:
    """Write the mark of an output; `more` is kept in it."""
    write_json(folder / MARK, {"format": _FORMAT, "kind": kind, "files": sorted(files), **more})


def read_mark(folder: Path) -> dict[str, Any] | None:
    """The mark of a folder; None where it has none, or one that cannot be read."""
    mark = _read_json(folder / MARK)
    return mark if isinstance(mark.get("kind"), str) and isinstance(mark.get("files"), list) else None


def whose(folder: Path, kind: Kind) -> tuple[list[str], list[str]]:
    """What of a folder phenolens wrote, and what others have put into it, as relative paths.

    Its own is what its mark lists; where it has none, as when it was not finished, what this kind writes.
    """
    there, mark = _files(folder), read_mark(folder)
    ours = {path for path in there if kind.writes(path)} if mark is None else set(map(str, mark["files"]))
    for path in there:
        inner, _, name = path.rpartition("/")
        if name == MARK and kind.holds and re.fullmatch(kind.holds, inner):
            found = read_mark(folder / inner) or {}
            ours |= {path, *(f"{inner}/{one}" for one in found.get("files", ()))}
    ours |= {path for path in there if any(map(is_temporary, path.split("/")))}
    return [path for path in there if path in ours], [path for path in there if path not in ours]


def named(paths: Sequence[str]) -> str:
    """The first few of some paths, and how many more there are."""
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(sorted(paths)[:_NAMED]) + more


def remove_output(folder: Path, kind: Kind) -> None:
    """Remove an output of this kind, but for what others have put into it.

    Raises
    ------
    OutputError
        The folder is none of this kind.
    """
    content = _content(folder)
    if content and content.kind != kind.name:
        held = named([*content.ours, *content.depends, *content.others])
        raise OutputError(f"{folder} is not {kind.what}, and holds {held}: move it away.")
    _remove_ours(folder, content.ours, kind)


@contextmanager
def unfinished(folder: Path, kind: Kind) -> Iterator[None]:
    """Work in a folder that this run made or goes on with, and remove what it wrote there once the block is done.

    Where the block raises, the folder is kept, to go on from. But where it was removed meanwhile, and made anew by what
    was written after that, nobody could go on from it: what is there then goes too.
    """

    def remove_ours() -> None:
        _remove_ours(folder, [path for path in _files(folder) if kind.writes(path)], kind)

    try:
        yield
    except BaseException:
        if not (folder / kind.known_by[0]).is_file():
            remove_ours()
        raise
    remove_ours()


def finish_replacing(parent: Path) -> None:
    """End what a process left half done that was killed while it replaced a folder in `parent`."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            parts = entry.name.removeprefix(_REPLACED).split("-", 4)
            if not entry.name.startswith(_REPLACED) or len(parts) != 5 or not parts[0].isdecimal():
                continue
            if not Process(int(parts[0]), parts[1], parts[2]).has_ended:
                continue
            target = parent / parts[4]
            if os.path.lexists(target):
                _empty_old(parent / entry.name, target, with_dependent=False)
            else:
                move(parent / entry.name, target)


def _target(folder: str | os.PathLike[str]) -> Path:
    target = absolute(folder)
    if not target.name:
        raise OutputError(f"{folder} is the root of a disk, which cannot be replaced: give the name of a new folder.")
    if os.path.exists(target) and not os.path.isdir(target):
        raise OutputError(f"Cannot write the folder {folder}: a file of that name exists. Choose another name.")
    here = absolute(".")
    if os.path.isdir(target) and (here == target or target in here.parents):
        raise OutputError(
            f"{folder} is the folder that you are in (or one above it), which cannot be replaced as a whole: give the "
            f"name of a new folder, such as {Path(folder) / 'output'}."
        )
    return target


@contextmanager
def _readable(folder: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(folder, error) from error


@dataclass(frozen=True)
class _Content:
    """What is in a folder: its kind, and the relative paths of what is whose.

    Parameters
    ----------
    kind
        Name of the kind, None where the folder is no output of phenolens.
    ours
        What the output consists of.
    depends
        Outputs of their own in it that are of no use without it, such as an adapter's noise floor.
    others
        All the rest.
    """

    kind: str | None = None
    ours: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ours or self.depends or self.others)


def _content(folder: Path) -> _Content:
    if not os.path.isdir(folder):
        return _Content()
    there = _files(folder)
    mark = read_mark(folder)
    if mark is not None:
        name: str | None = mark["kind"]
        kind = next((one for one in KINDS if one.name == name), None)
        listed = set(map(str, mark["files"]))
    else:
        kind = next((one for one in KINDS if _was(folder, one)), None)
        name = None if kind is None else kind.name
        listed = set() if kind is None else {path for path in there if kind.writes(path)}
    inside: set[str] = set()
    for inner in kind.depends if kind is not None else ():
        found = _content(folder / inner)
        inside |= {f"{inner}/{path}" for path in (*found.ours, MARK)} if found.kind is not None else set()
    return _Content(
        name,
        tuple(path for path in there if path in listed),
        tuple(path for path in there if path in inside),
        tuple(path for path in there if path not in listed | inside),
    )


def _was(folder: Path, kind: Kind) -> bool:
    """Whether a folder without a mark is of a kind by what it says of itself, as those made before there were marks."""
    file, holds = kind.known_by
    facts = _read_json(folder / file) if file else {}
    return bool(facts) and holds(facts)


def _what(name: str | None) -> str | None:
    return next((kind.what for kind in KINDS if kind.name == name), name)


def _files(folder: Path) -> list[str]:
    """Relative paths of the files, links and empty folders in a folder, but for its mark and what desktops leave."""
    found = []
    for where, folders, files in os.walk(folder):
        inside = Path(where).relative_to(folder)
        links = [name for name in folders if os.path.islink(Path(where, name))]
        found += [(inside / name).as_posix() for name in [*files, *links] if not _is_nobodys(name)]
        if where != str(folder) and not files and not folders:
            found.append(inside.as_posix() + "/")
    return sorted(path for path in found if path != MARK)


def _is_nobodys(name: str) -> bool:
    """Whether a file is of no worth to anybody: of desktops, or a lock or a half-written file of ours."""
    locked = name.startswith(".") and name.endswith((".phenolens.lock", ".phenolens-lock"))
    return name in _NOBODYS or locked or is_temporary(name)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except (OSError, ValueError):
        return {}


def _put(new: Path, target: Path, overwrite: bool) -> None:
    """Put the folder `new` where `target` is, and remove of that what phenolens wrote."""
    if not os.path.isdir(target):
        move(new, target)
        return
    made = set(_files(new))
    blocked = [path for path in _content(target).others if _clash(path, made)]
    if blocked:
        beside = _free_name(target)
        move(new, beside)
        raise OutputError(
            f"{named(blocked)} appeared in {target} while the new result was made, which is now in {beside}: "
            "move either away."
        )
    owner = this_process()
    old = target.with_name(f"{_REPLACED}{owner.pid}-{owner.start}-{owner.host}-{uuid.uuid4().hex[:8]}-{target.name}")
    with unbroken():
        move(target, old)
        try:
            move(new, target)
        except OSError:
            move(old, target)
            raise
        _empty_old(old, target, with_dependent=overwrite)


def _clash(path: str, made: set[str]) -> bool:
    parts = path.rstrip("/").split("/")
    above = {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return bool(above & made) or any(one.startswith(f"{path.rstrip('/')}/") for one in made if not path.endswith("/"))


def _empty_old(old: Path, target: Path, *, with_dependent: bool) -> None:
    """Remove what phenolens wrote from a replaced folder, and move what others put into it to the new one."""
    content = _content(old)
    for path in content.others if with_dependent else (*content.others, *content.depends):
        goal = target / path.rstrip("/")
        if os.path.lexists(goal):
            continue
        goal.parent.mkdir(parents=True, exist_ok=True)
        move(old / path.rstrip("/"), goal)
    remove_files(old, (*content.ours, *(content.depends if with_dependent else ())))
    if os.path.isdir(old):
        move(old, _free_name(target))


def _remove_ours(folder: Path, paths: Sequence[str], kind: Kind) -> None:
    """Remove these files of a folder, which is all of it or nothing where others have put nothing into it."""
    if os.path.isdir(folder) and set(paths) == set(_files(folder)):
        aside = temporary_name(absolute(folder))
        move(folder, aside)
        remove(aside)  # a run that is killed here leaves a name that the next one removes
        return
    # what tells the kind of a folder without a mark goes last
    remove_files(folder, sorted(paths, key=lambda path: path == kind.known_by[0]))


def remove_files(folder: Path, files: Sequence[str]) -> None:
    """Remove these files of a folder, the marks where nothing else is, and the folders that are empty then."""
    for path in files:
        with suppress(OSError):
            (folder / path).unlink()
    for where, _, names in os.walk(folder, topdown=False):
        left = set(names)
        if all(name == MARK or _is_nobodys(name) for name in left):
            for name in left:
                with suppress(OSError):
                    Path(where, name).unlink()
        with suppress(OSError):
            Path(where).rmdir()


def _free_name(target: Path) -> Path:
    number = 2
    while os.path.lexists(beside := target.with_name(f"{target.name}-{number}")):
        number += 1
    return beside
