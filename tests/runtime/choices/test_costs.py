"""What the last run took is remembered by what it depends on; a file that says something else is no answer."""

import json
from pathlib import Path

import pytest

from phenolens.runtime.choices.costs import Cost, last_cost, remember_cost

KIND = ("finetune", "cpu", "compact", "lora", "batch 16")


def test_the_last_run_of_a_kind_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path))
    assert last_cost(KIND) is None
    remember_cost(KIND, Cost(0.5, 10**9))
    remember_cost((*KIND[:-1], "batch 8"), Cost(0.25))
    remember_cost(KIND, Cost(0.75, 2 * 10**9))
    assert last_cost(KIND) == Cost(0.75, 2 * 10**9)
    assert last_cost((*KIND[:-1], "batch 8")) == Cost(0.25, 0)
    for strange in (3, {"seconds": "1"}, {"seconds": -1}, {"seconds": float("inf")}, {"memory": 5}, None):
        (tmp_path / "costs.json").write_text(json.dumps({" | ".join(KIND): strange}))
        assert last_cost(KIND) is None
    (tmp_path / "costs.json").write_text("[")
    assert last_cost(KIND) is None
