"""The command line, in one process and in several, computes with ONNX Runtime where it is there."""

import logging

import numpy as np
import pytest

from cli_run import run
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.progress import finish
from phenolens.screens.images import read_image
from phenolens.simulation.screen import simulate_screen
from phenolens.translation.model.fast_networks import VARIABLE
from tiny_base import make_tiny_adapter

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_translate_gives_the_same_pixels_by_onnx_runtime(tiny_base, tmp_path, monkeypatch, caplog, workers):
    screen = finish(simulate_screen(tmp_path / "screen", "translocation", wells=2, cells=3, shape=(96, 96)))
    adapter = tmp_path / "adapter"
    make_tiny_adapter(tiny_base, channels=3).save(adapter)
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path / "cache"))
    made = {}
    for kind in ("torch", "onnx"):
        monkeypatch.setenv(VARIABLE, kind)
        out = tmp_path / kind
        with caplog.at_level(logging.WARNING):
            ran = run(
                "translate", adapter, screen, "--strength", "1", "--steps", "4", "--cells", "whole", "--out", out,
                "--workers", str(workers), "--json",
            )  # fmt: skip
        assert ran.status == 0, ran.error
        made[kind] = np.stack([read_image(file).plane() for file in sorted(out.glob("*__difference.ome.tif"))]).astype(
            float
        )
        assert read_json_object(out / "provenance.json")["computed_with"].startswith(kind)
        assert (tmp_path / "cache" / "networks").exists() == (kind == "onnx")
    assert not caplog.records
    assert len(list((tmp_path / "cache" / "networks").glob("*.onnx"))) == 3
    assert np.abs(made["torch"]).max() > 1
    # The tiny network, of random weights, carries rounding far apart.
    assert np.abs(made["onnx"] - made["torch"]).max() <= 1e-4 * np.abs(made["torch"]).max()
    assert not np.array_equal(made["onnx"], made["torch"])
