"""``phenolens floor``, and what ``phenolens translate`` makes of it."""

import json

import numpy as np
import pytest

from cli_run import run
from phenolens.evaluation.noise.noise_floor import NoiseFloor
from phenolens.evaluation.noise.significance import significant
from phenolens.runtime.progress import finish
from phenolens.screens.images import read_image
from phenolens.screens.table import read_screen
from phenolens.simulation import simulate_screen, style_for
from phenolens.translation.model.adapter import Adapter


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "screen"
    style = style_for("translocation", 9002)
    return finish(simulate_screen(folder, "translocation", wells=4, cells=6, seed=3, shape=(128, 128), style=style))


@pytest.fixture(scope="module")
def adapter(screen, tiny_base, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "adapter"
    run(
        *("finetune", screen, "--source", "Metadata_Role=negative control", "--target", "translocation", "--out", out),
        *("--base", tiny_base, "--rank", "2", "--steps", "2", "--crop", "48", "--cells", screen / "labels"),
        *("--device", "cpu"),
    )
    return out


@pytest.mark.slow
def test_the_floor_and_the_pixels_beyond_it(adapter, screen, tmp_path):
    shared = ("--cells", screen / "labels", "--hold", "none")
    fitted = run("floor", adapter, screen, "--splits", "2", "--judged", "4", *shared, "--device", "cpu", "--json")
    assert fitted.status == 0
    assert fitted.facts["splits"] == 1, "two control wells can be split in one way"
    assert fitted.facts["cells"] == 8
    assert "2 control wells can be split" in " ".join(fitted.facts["weak"])
    assert (adapter / "noise_floor" / "card.json").is_file()

    out = tmp_path / "out"
    done = run("translate", adapter, screen, *shared, "--steps", "2", "--alpha", "0.4", "--out", out, "--json")
    floor, loaded = NoiseFloor.load(Adapter.load(adapter)), Adapter.load(adapter)
    field = read_screen(screen).fields[0]
    difference = read_image(out / f"{field.key}__difference.ome.tif")
    expected = significant(field.image().plane(), difference.plane(), loaded.intensity, floor, 0.4)
    mask = read_image(out / f"{field.key}__significant.ome.tif")
    assert mask.data.dtype == np.uint8
    assert mask.axes == difference.axes
    assert all("synthetic" in name for name in mask.channel_names)
    assert np.array_equal(mask.plane(), expected)
    shown = read_image(out / f"{field.key}__significant_difference.ome.tif").plane()
    assert np.array_equal(shown, np.where(expected, difference.plane(), 0))
    written = json.loads((out / "significance.json").read_text())
    assert written["alpha"] == 0.4
    assert written["significant"] == done.facts["significant"]
    count = np.count_nonzero(difference.plane()[0])
    assert written["significant"][field.key][field.image().channel_names[0]] == pytest.approx(expected[0].sum() / count)

    other = tmp_path / "other"
    held = run("translate", adapter, screen,
               "--cells", screen / "labels", "--hold", "DNA", "--steps", "2", "--out", other)  # fmt: skip
    assert held.status == 0
    assert "hold the same channels" in held.error
    assert not list(other.glob("*significant*"))

    less = tmp_path / "less"
    moved = run("translate", adapter, screen, *shared, "--steps", "2", "--fine-noise", "0.5", "--out", less)
    assert moved.status == 0
    assert "translate with --fine-noise 1" in moved.error
    assert not list(less.glob("*significant*"))


@pytest.mark.slow
def test_jobs_of_an_array_fit_a_floor(adapter, screen, tmp_path):
    shared = ("--cells", screen / "labels", "--hold", "none", "--judged", "4", "--device", "cpu")
    assert run("floor", adapter, screen, *shared, "--out", tmp_path / "here").status == 0
    out = tmp_path / "out"
    finished, again = [False], ("floor", adapter, screen, *shared, "--out", out, "--json")
    while not all(finished):
        assert not out.exists()
        finished = [run(*again, "--job", f"{part}/2").facts["finished"] for part in (1, 2)]
    gathered = run(*again, "--gather")
    assert (gathered.status, gathered.facts["cells"]) == (0, 8)
    assert (out / "card.json").read_bytes() == (tmp_path / "here" / "card.json").read_bytes()


@pytest.mark.slow
def test_mistakes(adapter, screen, tmp_path):
    one = run("floor", adapter, screen, "--control", "nothing-like-this", "--json")
    assert one.status == 2
    assert "No field fits" in one.error
    assert run("floor", tmp_path, screen).status == 2
