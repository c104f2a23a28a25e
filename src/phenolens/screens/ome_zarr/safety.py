"""What is refused of a Zarr array before it is opened: codecs that could run code, chunks that fill the memory."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from phenolens.runtime.errors import ImageError

# No array is opened whose smallest readable piece is larger: reading one pixel would take that much memory.
LARGEST_CHUNK = 2**30
_MOST_CHUNKS_A_SHARD = 4_000_000
_PLAIN = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float16", "float32")
_NUMBERS = frozenset({*_PLAIN, "float64"})
# Codecs that only decompress or rearrange numbers. Others (pickle!) can run code, or make objects.
_CODECS = frozenset({
    "bytes", "transpose", "sharding_indexed", "crc32c", "blosc", "gzip", "zstd", "zlib", "lz4", "bz2", "lzma", "lzf",
    "shuffle", "delta", "packbits", "fixedscaleoffset", "quantize", "bitround", "astype", "adler32", "crc32",
    "fletcher32", "jenkins_lookup3", "pcodec", "zfpy",
})  # fmt: skip
_TEXT_CODECS = frozenset({"vlen-utf8", "vlen-bytes"})


def check_codecs(address: str, document: Mapping[str, Any]) -> None:
    """Make sure that an array needs no codec that is not trusted, before another library reads it; text is allowed.

    Raises
    ------
    ImageError
        It does.
    """
    v3 = document.get("zarr_format") == 3
    names = _codec_names(document.get("codecs"))[0] if v3 else _codec_names_2(document)
    for name in names:
        if not isinstance(name, str) or name.removeprefix("numcodecs.") not in _CODECS | _TEXT_CODECS:
            raise ImageError(
                f"The array {address} cannot be opened: its codec {str(name)[:40]!r} is not a trusted one."
            )


def check_array(address: str, zarr_format: int, document: Mapping[str, Any]) -> None:
    """Refuse what would run code or fill the memory, before zarr sees it."""

    def wrong(why: str) -> ImageError:
        return ImageError(f"The array {address} cannot be opened: {why}.")

    if document.get("zarr_format") != zarr_format:
        raise wrong(f"it says zarr_format {str(document.get('zarr_format'))[:20]}, its group {zarr_format}")
    shape: Any = document.get("shape")
    if not _lengths(shape, 0):
        raise wrong("its shape is not a list of whole numbers")
    if zarr_format == 2:
        kind = document.get("dtype")
        match = re.fullmatch(r"[<>|]([biuf])([1248])", kind) if isinstance(kind, str) else None
        size = int(match[2]) if match else 0
        chunk: Any = document.get("chunks")
        names = _codec_names_2(document)
    else:
        kind = document.get("data_type")
        size = 0
        if isinstance(kind, str) and kind in _NUMBERS:
            size = 1 if kind == "bool" else int(re.sub(r"\D", "", kind)) // 8
        chunk = _within(_within(document, "chunk_grid"), "configuration").get("chunk_shape")
        names, inner = _codec_names(document.get("codecs"))
        if inner is not None and _lengths(chunk, 1) and _lengths(inner, 1):
            if math.prod(chunk) > _MOST_CHUNKS_A_SHARD * math.prod(inner):
                raise wrong("its shards hold too many chunks")
            chunk = inner
    if not size:
        raise wrong(f"its values are {str(kind)[:40]!r}, and an image has whole or real numbers")
    for name in names:
        if not isinstance(name, str) or name.removeprefix("numcodecs.") not in _CODECS:
            raise wrong(f"its codec {str(name)[:40]!r} is not one that is trusted")
    if not _lengths(chunk, 1) or len(chunk) != len(shape):
        raise wrong("its chunks do not fit its shape")
    if math.prod(chunk) * size > LARGEST_CHUNK:
        raise wrong(f"a chunk of {' x '.join(map(str, chunk))} is larger than {LARGEST_CHUNK:,} bytes")


def _codec_names_2(document: Mapping[str, Any]) -> list[Any]:
    filters, compressor = document.get("filters") or [], document.get("compressor")
    codecs = [*(filters if isinstance(filters, list) else [filters]), *([compressor] if compressor else [])]
    return [codec.get("id") if isinstance(codec, dict) else codec for codec in codecs]


def _codec_names(codecs: Any, depth: int = 0) -> tuple[list[Any], Any]:
    """Names of all codecs, those within shards too, and the chunk shape within a shard or None."""
    if not isinstance(codecs, list) or depth > 3:
        return ["unreadable"], None
    names: list[Any] = []
    inner = None
    for codec in codecs:
        names.append(codec.get("name") if isinstance(codec, dict) else codec)
        if names[-1] == "sharding_indexed":
            settings = _within(codec, "configuration")
            within, deeper = _codec_names(settings.get("codecs"), depth + 1)
            index, _ = _codec_names(settings.get("index_codecs"), depth + 1)
            names += within + index
            inner = deeper or settings.get("chunk_shape")
    return names, inner


def _within(document: Any, name: str) -> Mapping[str, Any]:
    found = document.get(name) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _lengths(value: Any, least: int) -> bool:
    return isinstance(value, list) and all(type(one) is int and least <= one < 2**62 for one in value)
