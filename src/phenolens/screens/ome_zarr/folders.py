"""Zarr groups and arrays on disk or behind a URL, checked before anything in them is decoded."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenolens.runtime.contents import is_zarr as is_zarr
from phenolens.runtime.errors import ImageError
from phenolens.runtime.json_files import parsed_json
from phenolens.screens.ome_zarr.safety import check_array, check_codecs

_LARGEST_METADATA = 64 * 2**20
_AT_ONCE = 16  # requests; a small server turns away many more


def is_url(address: object) -> bool:
    """Whether `address` is a URL, such as ``https://host/plate.zarr`` or ``s3://bucket/plate.zarr``."""
    return isinstance(address, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", address) is not None


def load_reader() -> None:
    """Import what reads images in parts, which takes a second or two, before the first of them is opened."""
    with suppress(ImportError):  # zarr is an extra
        import dask.array
        import dask.threaded
        import zarr

        _ = dask.array, dask.threaded, zarr


def shown_name(place: str | os.PathLike[str]) -> str:
    """The last part of a path or URL."""
    return re.sub(r".*[/\\\\]", "", os.fspath(place).rstrip("/"))


@dataclass(frozen=True)
class ZarrGroup:
    """The attributes of a group, and how to go on from there.

    Parameters
    ----------
    address
        Path or URL of the group.
    zarr_format
        2 (OME-Zarr to 0.4) or 3 (from 0.5 on).
    attributes
        As they stand in its metadata.
    """

    address: str
    zarr_format: int
    attributes: Mapping[str, Any]

    @property
    def ome(self) -> Mapping[str, Any]:
        """The attributes of OME-Zarr.

        Raises
        ------
        ImageError
            They are no mapping.
        """
        if self.zarr_format == 2 or "ome" not in self.attributes:
            return self.attributes
        ome = self.attributes["ome"]
        if not isinstance(ome, dict):
            raise ImageError(f"The OME-Zarr {self.address} is damaged: its attribute 'ome' is no mapping.")
        return ome

    @property
    def version(self) -> str:
        """Version of OME-Zarr that writes such a group: 0.4 or 0.5."""
        return "0.4" if self.zarr_format == 2 else "0.5"

    def child(self, path: str) -> ZarrGroup | None:
        """Return a group below this one, None where there is none."""
        return self.children([path])[0]

    def children(self, paths: Sequence[str]) -> list[ZarrGroup | None]:
        """Return groups below this one, read at once; None for each that does not exist."""
        where = [joined(self.address, path) for path in paths]
        name = "zarr.json" if self.zarr_format == 3 else ".zattrs"
        documents = _read_all([joined(one, name) for one in where])
        return [
            None if document is None else _group(one, self.zarr_format, document)
            for one, document in zip(where, documents, strict=True)
        ]

    def arrays(self, paths: Sequence[str]) -> list[Any]:
        """Open arrays below this group; of each its metadata is read, and nothing else.

        Raises
        ------
        ImageError
            One is missing, is no array of numbers, needs a codec that is not trusted, or has chunks too large to read.
        """
        where = [joined(self.address, path) for path in paths]
        name = "zarr.json" if self.zarr_format == 3 else ".zarray"
        return [
            _array(one, self.zarr_format, document)
            for one, document in zip(where, _read_all([joined(one, name) for one in where]), strict=True)
        ]


def open_group(address: str | os.PathLike[str]) -> ZarrGroup:
    """Open the Zarr group at a path or URL.

    Raises
    ------
    ImageError
        There is none, it cannot be reached, or its metadata are damaged.
    """
    address = os.fspath(address).rstrip("/")
    version3, version2 = _read_all([joined(address, "zarr.json"), joined(address, ".zattrs")])
    if version3 is not None:
        return _group(address, 3, version3)
    if version2 is not None:
        return _group(address, 2, version2)
    raise ImageError(f"There is no OME-Zarr at {address}: it has neither a zarr.json nor a .zattrs.")


def joined(address: str, path: str) -> str:
    """Return the address of `path`, which is relative to `address` and must not leave it.

    Raises
    ------
    ImageError
        It would leave it.
    """
    parts = path.split("/")
    if not path or "\\" in path or ":" in path or any(part in ("", ".", "..") for part in parts):
        raise ImageError(f"The OME-Zarr {address} is damaged: it names the path {path[:80]!r}, which is not within it.")
    return f"{address}/{path}"


def _read_all(addresses: Sequence[str]) -> list[Any]:
    """Read JSON documents, at once where they are remote; None for each that does not exist."""
    if not addresses:
        return []
    if not is_url(addresses[0]):
        return [_parsed(_local(address), address) for address in addresses]
    try:
        from fsspec.core import url_to_fs

        files, _ = url_to_fs(addresses[0])
        names = [files._strip_protocol(address) for address in addresses]
        settings = {"batch_size": _AT_ONCE} if files.async_impl else {}
        found = files.cat(names, on_error="return", **settings)
    except ImportError as error:
        scheme = addresses[0].split(":")[0]
        raise ImageError(f"Addresses with {scheme}:// need another package ({error}): install it.") from error
    except Exception as error:  # every kind of file system has errors of its own
        raise ImageError(f"{addresses[0]} cannot be reached ({error}).") from error
    if isinstance(found, bytes):
        found = {names[0]: found}
    documents: list[Any] = []
    for address, name in zip(addresses, names, strict=True):
        content = found.get(name)
        if isinstance(content, FileNotFoundError) or content is None:
            documents.append(None)
        elif isinstance(content, Exception):
            raise ImageError(f"{address} cannot be reached ({str(content) or type(content).__name__}).") from content
        else:
            documents.append(_parsed(content, address))
    return documents


def _local(address: str) -> bytes | None:
    path = Path(address)
    try:
        if path.stat().st_size > _LARGEST_METADATA:
            raise ImageError(f"{path} is too large for metadata ({path.stat().st_size:,} bytes): it is damaged.")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read ({error}).") from error


def _parsed(content: bytes | None, address: str) -> Any:
    if content is None:
        return None
    try:
        document = parsed_json(content)
    except ValueError as error:
        raise ImageError(f"{address} is damaged: it is no usable JSON ({error}).") from error
    if not isinstance(document, dict):
        raise ImageError(f"{address} is damaged: its JSON is no mapping.")
    return document


def _group(address: str, zarr_format: int, document: Mapping[str, Any]) -> ZarrGroup:
    if zarr_format == 2:
        return ZarrGroup(address, 2, document)
    if document.get("node_type") != "group":
        raise ImageError(f"{address} is a Zarr array without OME-Zarr's metadata: give the group that it belongs to.")
    attributes = document.get("attributes", {})
    if not isinstance(attributes, dict):
        raise ImageError(f"{address} is damaged: its attributes are no mapping.")
    return ZarrGroup(address, 3, attributes)


def _array(address: str, zarr_format: int, document: Mapping[str, Any] | None) -> Any:
    if document is None:
        raise ImageError(f"The OME-Zarr is damaged or not all there: it has no array {address}.")
    check_array(address, zarr_format, document)
    try:
        from zarr import Array
        from zarr.storage import FsspecStore, LocalStore, StorePath
    except ImportError as error:
        raise ImageError(
            f'The pixels of {address} need the package zarr: pip install "napari-phenolens[zarr]".'
        ) from error
    try:
        store: Any = FsspecStore.from_url(address, read_only=True) if is_url(address) else None
        return Array.from_dict(StorePath(store or LocalStore(address, read_only=True)), dict(document))
    except Exception as error:  # whatever odd metadata lead zarr to
        raise ImageError(f"The array {address} cannot be opened ({str(error) or type(error).__name__}).") from error


def check_arrays_below(folder: Path) -> None:
    """Make sure that no array below a folder on disk needs a codec that is not trusted.

    Raises
    ------
    ImageError
        One does.
    """
    for name in (".zarray", ".zmetadata", "zarr.json"):
        for path in folder.rglob(name):
            document = _parsed(_local(str(path)), str(path)) or {}
            # metadata of arrays may also be gathered in a group above them
            gathered = document.get("consolidated_metadata", document)
            within = gathered.get("metadata", {}) if isinstance(gathered, dict) else {}
            for one in (document, *(within.values() if isinstance(within, dict) else ())):
                if isinstance(one, dict) and (name == ".zarray" or "chunks" in one or one.get("node_type") == "array"):
                    check_codecs(str(path.parent), one)
