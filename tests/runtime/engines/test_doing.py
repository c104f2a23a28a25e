"""What becomes of a run whose files somebody removes."""

import shutil

import pytest

from phenolens.runtime.engines.doing import Doing
from phenolens.runtime.errors import OutputError


def test_what_was_removed_meanwhile_is_said_in_a_sentence(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(OutputError, match="was removed, or its lock"), Doing().opened(out, [], lambda: None):
        shutil.rmtree(out)
        (out / "kept.npy").read_bytes()
    said = r"kept\.npy was removed while .*out was written: start again"
    with pytest.raises(OutputError, match=said), Doing().opened(out, [], lambda: None):
        (out / "kept.npy").read_bytes()
