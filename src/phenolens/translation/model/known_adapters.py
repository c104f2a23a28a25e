"""Which adapters there are on this computer: what their cards say, without reading a weight."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from platformdirs import user_data_path

from phenolens.runtime.choices.preferences import cache_folder
from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.files import absolute, write_json
from phenolens.runtime.json_files import read_json, read_json_object
from phenolens.runtime.output_kinds import ADAPTER
from phenolens.runtime.outputs import remove_output
from phenolens.translation.model.adapter_card import AdapterCard

_MOST = 200


@dataclass(frozen=True)
class KnownAdapter:
    """What the card of an adapter says.

    Parameters
    ----------
    folder
        Where it lies.
    conditions
        Texts of the source and the target condition.
    channel_names, base, method
        What it was trained on, and how.
    cells
        How many cells of each condition, by its text; empty where that is not known.
    loss
        Loss of the last step; None where that is not known.
    made
        When its folder was written.
    size
        Bytes of its files.
    """

    folder: Path
    conditions: tuple[str, str]
    channel_names: tuple[str, ...]
    base: str
    method: str
    cells: dict[str, int]
    loss: float | None
    made: datetime
    size: int


def own_adapters() -> Path:
    """The folder that fine-tuning in the window puts adapters into, unless another is chosen."""
    return Path(user_data_path("napari-phenolens")) / "adapters"


def known_adapters(folders: Iterable[str | os.PathLike[str]] = ()) -> list[KnownAdapter]:
    """Adapters among `folders`, those made here and those used before, the newest first.

    Folders that are no adapter, or whose card cannot be read, are left out.
    """
    own = own_adapters()
    made_here = sorted(own.iterdir()) if own.is_dir() else []
    places = dict.fromkeys(absolute(Path(one)) for one in (*folders, *made_here, *_used_before()))
    found = [one for one in map(_read, places) if one is not None]
    return sorted(found, key=lambda one: one.made, reverse=True)


def remember_adapter(folder: str | os.PathLike[str]) -> None:
    """List an adapter that lies elsewhere too from now on; where that cannot be written, it is not."""
    place = str(absolute(Path(folder)))
    with suppress(PhenolensError, OSError):
        _list().parent.mkdir(parents=True, exist_ok=True)
        write_json(_list(), [place, *(one for one in _used_before() if one != place)][:_MOST])


def delete_adapter(adapter: KnownAdapter) -> None:
    """Delete an adapter's files; what others have put into its folder stays.

    Raises
    ------
    OutputError
        The folder is no adapter any more.
    """
    remove_output(adapter.folder, ADAPTER)


def _list() -> Path:
    return cache_folder() / "adapters.json"


def _used_before() -> list[str]:
    with suppress(PhenolensError, OSError, ValueError):
        found = read_json(_list())
        if isinstance(found, list):
            return [one for one in found if isinstance(one, str)]
    return []


def _read(folder: Path) -> KnownAdapter | None:
    with suppress(PhenolensError, OSError, ValueError, TypeError, KeyError):
        facts = read_json_object(folder / "card.json")
        source, target = (str(one) for one in facts["conditions"])
        channels = tuple(str(one) for one in facts["channel_names"])
        card = AdapterCard.from_dict(facts)
        files = [path for path in folder.rglob("*") if path.is_file()]
        return KnownAdapter(
            folder=folder,
            conditions=(source, target),
            channel_names=channels,
            base=str(facts["base"]),
            method=str(facts.get("method", "lora")),
            cells={name: count for name, count in (card.cells or {}).items() if isinstance(count, int)},
            loss=card.final_loss,
            made=datetime.fromtimestamp((folder / "card.json").stat().st_mtime).astimezone(),
            size=sum(path.stat().st_size for path in files),
        )
    return None
