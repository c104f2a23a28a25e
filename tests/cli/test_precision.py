"""The precision of a translation is chosen, said in the provenance, and never mixed within a folder."""

import json

import numpy as np

from cli_run import run
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.progress import finish
from phenolens.screens.images import read_image
from phenolens.simulation.screen import simulate_screen
from phenolens.translation.model import precision
from tiny_base import make_tiny_adapter


def test_results_of_two_precisions_are_not_mixed(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bfloat16", lambda: True)  # where it has not, torch does without
    screen = finish(simulate_screen(tmp_path / "screen", "translocation", wells=2, cells=3, shape=(96, 96)))
    adapter = tmp_path / "adapter"
    make_tiny_adapter(tiny_base, channels=3).save(adapter)
    how = ("--strength", "1", "--steps", "4", "--cells", "whole")

    def translate(out, *more):
        return run("translate", adapter, screen, *how, "--out", out, *more)

    exact, halved = tmp_path / "exact", tmp_path / "halved"
    assert translate(exact).status == 0
    assert translate(halved, "--precision", "bfloat16").status == 0
    facts = {folder.name: read_json_object(folder / "provenance.json") for folder in (exact, halved)}
    assert [facts[name]["precision"] for name in ("exact", "halved")] == ["float32", "bfloat16"]
    assert facts["halved"]["computed_with"].startswith("torch")
    changes = [
        np.stack([read_image(file).plane() for file in sorted(folder.glob("*__difference.ome.tif"))]).astype(float)
        for folder in (exact, halved)
    ]
    assert not np.array_equal(*changes)
    for folder, other in ((exact, ("--precision", "bfloat16")), (halved, ())):
        refused = translate(folder, *other)
        assert refused.status == 2
        assert "holds results made with another precision" in refused.error
        assert translate(folder, *other, "--overwrite").status == 0
    unknown = translate(tmp_path / "none", "--precision", "int8")
    assert unknown.status == 2
    assert "There is no precision 'int8': choose one of float32, bfloat16" in unknown.error
    # A folder from before there was a choice goes on in float32.
    assert "precision" not in json.dumps([json.loads(file.read_text()) for file in halved.glob(".*.json")])
