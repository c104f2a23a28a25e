"""Provenance says what made a result; hashes say what went in."""

import hashlib
import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from phenolens.runtime.errors import PhenolensError
from phenolens.runtime.provenance import provenance, sha256_of, write_provenance


def test_versions_machine_and_facts() -> None:
    facts = provenance(seed=7, device="cpu")
    assert facts["seed"] == 7
    assert facts["device"] == "cpu"
    assert {"phenolens", "torch", "diffusers", "peft", "numpy"} <= set(facts["versions"])
    assert facts["python"].startswith("3.")
    assert datetime.fromisoformat(facts["time"]).utcoffset() == timedelta(0)


def test_the_callers_facts_win() -> None:
    assert provenance(platform="elsewhere")["platform"] == "elsewhere"


def test_it_is_written_as_json(tmp_path: Path) -> None:
    path = write_provenance(tmp_path / "out", inputs=[Path("screen.csv")])
    assert path == tmp_path / "out" / "provenance.json"
    assert json.loads(path.read_text("utf-8"))["inputs"] == ["screen.csv"]


def test_a_file_has_the_usual_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_a_folder_is_its_names_and_contents(tmp_path: Path) -> None:
    first = tmp_path / "first"
    (first / "deep").mkdir(parents=True)
    (first / "deep" / "a").write_text("1")
    (first / "b").write_text("2")
    digest = sha256_of(first)
    assert sha256_of(shutil.copytree(first, tmp_path / "second")) == digest
    (tmp_path / "second" / "b").write_text("3")
    assert sha256_of(tmp_path / "second") != digest
    (first / "b").rename(first / "c")
    assert sha256_of(first) != digest


def test_nothing_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PhenolensError, match="no file or folder"):
        sha256_of(tmp_path / "missing")
