"""Write constraints-lowest.txt: each dependency at the lower bound that pyproject.toml gives it.

``tox -e lowest`` installs them. Run it again after a bound was changed; a test compares the two.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "constraints-lowest.txt"
EXTRAS = ("all", "map", "test")
_BOUND = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?>=(?P<version>[\w.]+)")


def lowest_versions(pyproject: Path) -> Iterator[str]:
    """Yield ``name==version`` for each dependency of the package and of the extras that tests need."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(one for extra in EXTRAS for one in project["optional-dependencies"][extra])]
    for requirement in sorted(set(asked), key=str.lower):
        bound = _BOUND.fullmatch(requirement)
        if bound is None:
            raise ValueError(f"{requirement!r} has no lower bound: write one, such as {requirement}>=1.0")
        yield f"{bound['name']}=={bound['version']}"


def text() -> str:
    """What the file is to hold."""
    pins = dict.fromkeys(lowest_versions(ROOT / "pyproject.toml"))
    return "\n".join(["# The lowest versions that pyproject.toml allows: python scripts/lowest_versions.py", *pins, ""])


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(f"wrote {TARGET}")
