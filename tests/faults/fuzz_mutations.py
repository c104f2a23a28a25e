"""Ways to damage or forge a file: in its bytes, in its text, and inside what is packed in it."""

import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

WORDS = (
    "", "nan", "inf", "-inf", "1e999", "-1", "0", "0.0", "1e38", "99999999999999999999", "True", "None", "null", "[]",
    "{}", "../../../etc/passwd", "/dev/zero", "a" * 300, "é" * 200, "\x00", '"', "'", ",", "\t", "\r\n", "=cmd|'/C'!A0",
    "<script>", "emb_0", "Metadata_Well", "Image", "0,65", "0.65 um", "-3 um", "7 parsec", "\ufeff", "\ud7ff",
    "C" * 500, ".", "*", "[U]", "(" * 60, ")",
)  # fmt: skip
VALUES = (
    None, True, -1, 0, 1e308, 10**30, "", "x", "nan", [], {}, [[]], ["a"], [1, "a"], {"a": 1}, "x" * 400, -0.5,
    [None, None], [1e999], 2**31,
)  # fmt: skip


def mutate(data: bytes, name: str, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """Return another version of the bytes `data` of the file `name`; `others` are those of files to splice with."""
    suffix = Path(name).suffix.lower()
    roll = rng.random()
    if suffix == ".json" and roll < 0.6:
        return _json(data, rng)
    if suffix in (".npz",) and roll < 0.6:
        return _packed(data, rng, others)
    if suffix == ".gz" and roll < 0.6:
        return gzip.compress(_text(gzip.decompress(data), rng))
    if suffix == ".png" and roll < 0.6:
        return _png(data, rng)
    if suffix == ".safetensors" and roll < 0.4:
        return _safetensors(data, rng)
    if suffix in (".csv", ".tsv", ".txt", ".smi") and roll < 0.7:
        return _text(data, rng)
    if suffix == ".tif" and b"<OME" in data and roll < 0.3:
        return _xml(data, rng)
    return _bytes(data, rng, others)


def _bytes(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        if not changed:
            break
        at = int(rng.integers(len(changed)))
        what = rng.integers(8)
        if what == 0:
            changed[at] ^= 1 << int(rng.integers(8))
        elif what == 1:
            changed[at] = int(rng.integers(256))
        elif what == 2:
            del changed[at:]
        elif what == 3:
            del changed[at : at + int(rng.integers(1, 64))]
        elif what == 4:
            changed[at:at] = rng.bytes(int(rng.integers(1, 64)))
        elif what == 5:
            size, code = ((2, "H"), (4, "I"), (8, "Q"))[int(rng.integers(3))]
            most = 256**size - 1
            value = (0, 1, most, most // 2, int(rng.integers(1, 2**15)), len(data))[int(rng.integers(6))]
            changed[at : at + size] = struct.pack("<>"[int(rng.integers(2))] + code, min(value, most))
        elif what == 6:
            other = others[int(rng.integers(len(others)))]
            cut = int(rng.integers(len(other) or 1))
            changed[at:] = other[cut:]
        else:
            size = int(rng.integers(1, 200))
            changed[at:at] = bytes(changed[at : at + size]) * int(rng.integers(1, 4))
    return bytes(changed)


def _text(data: bytes, rng: np.random.Generator) -> bytes:
    text = data.decode("utf-8", "replace")
    parts = re.split(r"([,;\t\n.()=]+)", text)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(parts)))
        word = WORDS[int(rng.integers(len(WORDS)))]
        parts[at] = word if rng.random() < 0.7 else parts[at] + word
    if rng.random() < 0.1:
        parts = parts * int(rng.integers(2, 5))
    return "".join(parts).encode("utf-8", "surrogatepass")


def _xml(data: bytes, rng: np.random.Generator) -> bytes:
    """Another number in the XML of an OME-TIFF, of as many characters, so that offsets stay."""
    numbers = list(re.finditer(rb'"([\d.]+)"', data))
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 3))):
        found = numbers[int(rng.integers(len(numbers)))]
        width = found.end(1) - found.start(1)
        text = (b"9" * width, b"0" * width, b"-" + b"1" * (width - 1), b"x" * width)[int(rng.integers(4))]
        changed[found.start(1) : found.end(1)] = text[:width]
    return bytes(changed)


def _json(data: bytes, rng: np.random.Generator) -> bytes:
    found = json.loads(data)
    places = list(_places(found))
    if not places:  # an empty object
        return data[:-1]
    for _ in range(int(rng.integers(1, 4))):
        holder, key = places[int(rng.integers(len(places)))]
        try:
            if rng.random() < 0.15:
                del holder[key]
            else:
                holder[key] = VALUES[int(rng.integers(len(VALUES)))]
        except (KeyError, IndexError):
            continue
    text = json.dumps(found)
    if rng.random() < 0.1:
        depth = int(rng.choice([50, 500, 5000, 100_000]))
        text = text.replace("1", "[" * depth + "]" * depth, 1)
    return text.encode()


def _places(found):
    stack = [found]
    while stack:
        holder = stack.pop()
        items = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, value in list(items):
            yield holder, key
            if isinstance(value, (dict, list)):
                stack.append(value)


def _packed(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """A zip archive with a changed member, and check sums that fit."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        chosen = names[int(rng.integers(len(names)))]
        for name in names:
            content = old.read(name)
            if name == chosen:
                content = _bytes(content, rng, others)
            if rng.random() > 0.05:
                new.writestr(name if rng.random() > 0.03 else name + "x", content)
    return made.getvalue()


def _png(data: bytes, rng: np.random.Generator) -> bytes:
    """A changed chunk with a check sum that fits."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    chosen = int(rng.integers(len(chunks)))
    kind, content = chunks[chosen]
    if kind == b"IDAT" and rng.random() < 0.5:
        content = zlib.compress(_bytes(zlib.decompress(content), rng, [b"\0" * 50]))
    else:
        content = _bytes(content or b"\0", rng, [b"\0" * 50])
    chunks[chosen] = (kind, content)
    written = b"".join(
        struct.pack(">I", len(held)) + name + held + struct.pack(">I", zlib.crc32(name + held)) for name, held in chunks
    )
    return data[:8] + written


def _safetensors(data: bytes, rng: np.random.Generator) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    header = _json(data[8 : 8 + length], rng)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]
