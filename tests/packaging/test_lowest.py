"""What is said of versions is said once: the lower bounds of pyproject.toml, and the file that installs them."""

import runpy

import pytest

from project import ROOT

SCRIPT = runpy.run_path(str(ROOT / "scripts" / "lowest_versions.py"))


def test_the_lowest_versions_are_the_lower_bounds() -> None:
    assert (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8") == SCRIPT["text"]()


def test_a_dependency_without_a_lower_bound_is_told(tmp_path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["numpy"]\n[project.optional-dependencies]\nall = []\nmap = []\ntest = []\n'
    )
    with pytest.raises(ValueError, match="'numpy' has no lower bound"):
        list(SCRIPT["lowest_versions"](tmp_path / "pyproject.toml"))
