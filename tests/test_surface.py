"""The public surface: what it offers, how it is documented, and that its examples do what they say."""

import doctest
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import phenolens as ph
from phenolens import api, jobs
from phenolens.api import blocking
from phenolens.evaluation.profiles.report import ProfileReport
from phenolens.evaluation.translations.report import TranslationReport
from phenolens.runtime.progress import Job, Progress
from phenolens.translation.apply.translated_crop import TranslatedCrop
from project import ROOT
from public import make_example_files, put_tiny_base

RESULTS = (TranslatedCrop, TranslationReport, ProfileReport)
PUBLIC = {name: getattr(ph, name) for name in ph.__all__} | {one.__name__: one for one in RESULTS}
LONG = jobs.__all__
pytestmark = pytest.mark.usefixtures("few_noise_levels")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    make_example_files(folder, tiny_base)
    return folder


@pytest.fixture
def there(examples: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a user who has a screen and an adapter, and that screen in the place of the sample."""
    (tmp_path / "cache").mkdir()
    for name, what in (("screen", "screen"), ("adapter", "adapter"), ("cache/simulated", "screen")):
        (tmp_path / name).symlink_to(examples / what, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def quick(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine-tune a base that is small."""
    put_tiny_base(monkeypatch, tiny_base)


def test_the_surface_is_small_and_all_of_it_is_there() -> None:
    assert 15 <= len(ph.__all__) <= 19
    assert set(ph.__all__) <= set(dir(ph))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ph.nonsense  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_says_what_it_takes_what_goes_wrong_and_shows_an_example(name: str) -> None:
    one = PUBLIC[name]
    doc = inspect.getdoc(one)
    assert doc is not None
    assert ">>> " in doc
    if inspect.ismodule(one):
        return
    parameters = list(inspect.signature(one).parameters)
    section = doc.split("Parameters\n----------\n")[1].split("\n\n")[0]
    listed = re.findall(r"^([\w, ]+)$", re.sub(r"^ .*$", "", section, flags=re.MULTILINE), re.MULTILINE)
    documented = [word for line in listed for word in line.split(", ")]
    if inspect.isfunction(one):
        assert set(documented) == set(parameters)
        assert "Raises\n------\n" in doc
    else:
        assert set(documented) <= set(parameters)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_the_example_of_a_public_name_is_true(name: str, there: Path, request: pytest.FixtureRequest) -> None:
    if name.startswith("finetune"):
        request.getfixturevalue("quick")
    tests = doctest.DocTestFinder(recurse=False, exclude_empty=True).find(PUBLIC[name], name, globs={})
    assert tests
    for one in tests:
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        shown: list[str] = []
        runner.run(one, out=shown.append)
        assert runner.failures == 0, "".join(shown)
        assert runner.tries


@pytest.mark.parametrize("name", LONG)
def test_a_call_has_the_signature_of_its_job_and_a_progress(name: str) -> None:
    job, call = getattr(jobs, name), getattr(ph, name)
    assert inspect.isgeneratorfunction(job)
    assert not inspect.isgeneratorfunction(call)
    wanted, given = inspect.signature(job), inspect.signature(call)
    *same, progress = given.parameters.values()
    assert same == list(wanted.parameters.values())
    assert (progress.name, progress.kind, progress.default) == ("progress", progress.KEYWORD_ONLY, "bar")
    assert wanted.return_annotation == f"Job[{given.return_annotation}]"
    assert call.__name__ == name
    assert getattr(api, name) is call
    assert inspect.getdoc(call).replace(api._PROGRESS, "") == inspect.getdoc(job)


def counting(steps: int, *, by: int = 1) -> Job[int]:
    """Count.

    Parameters
    ----------
    steps, by
        How far, and how fast.

    Returns
    -------
    int
        The count.
    """
    try:
        for step in range(steps):
            yield Progress(step, steps, "counting")
    finally:
        closed.append(steps)
    return steps * by


closed: list[int] = []


def test_a_blocking_call_hands_over_progress_and_closes_what_is_broken_off(capsys: pytest.CaptureFixture[str]) -> None:
    count = blocking(counting)
    seen: list[Progress] = []
    assert count(3, by=2, progress=seen.append) == 6
    assert [one.step for one in seen] == [0, 1, 2]
    assert count(3) == count(3, progress=None) == 3
    assert capsys.readouterr() == ("", "")

    def stop(now: Progress) -> None:
        raise KeyboardInterrupt

    closed.clear()
    with pytest.raises(KeyboardInterrupt):
        count(7, progress=stop)
    assert closed == [7]


def test_a_bar_is_drawn_on_a_terminal_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert blocking(counting)(3) == 3
    assert "counting" in terminal.getvalue()


def test_a_bar_in_a_notebook_is_escaped_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from phenolens.runtime import progress_bar

    drawn: list[str] = []

    class Handle:
        def update(self, data: dict[str, str], raw: bool) -> None:
            drawn.append(data["text/html"])

    monkeypatch.setattr(progress_bar, "_notebook", lambda: Handle)
    monkeypatch.setattr(progress_bar, "_SECONDS", 0)

    def job() -> Job[None]:
        yield Progress(1, 4, "<b>", {"loss": 0.5})

    progress_bar.wait_for(job())
    assert drawn == ['<progress value="1" max="4"></progress> &lt;b&gt; loss 0.5 1/4', ""]


def test_mistakes_are_told_before_any_work(there: Path) -> None:
    with pytest.raises(ph.errors.ScreenError, match=r"no channel 'GFP'.*DNA"):
        ph.find_cells("screen", nucleus_channel="GFP")
    with pytest.raises(ph.errors.ScreenError, match="no sample 'mnist'"):
        ph.sample("mnist")  # type: ignore[call-overload]
    with pytest.raises(ph.errors.ModelError, match="no level 'plate'"):
        ph.embed("screen", level="plate")  # type: ignore[call-overload]
    with pytest.raises(ph.errors.ModelError, match="no adapter folder"):
        ph.translate_screen("nowhere", "screen", out="translated")
    (there / "mine").mkdir()
    (there / "mine" / "data.txt").write_text("kept")
    with pytest.raises(ph.errors.OutputError, match="is not a simulated screen"):
        ph.simulate_screen("mine", wells=2)


def test_text_and_condition_are_taken_alike(there: Path, quick: None) -> None:
    texts = ("Role=negative control", "translocation")
    made = [
        ph.finetune("screen", *pair, out=f"adapter{n}", cells="whole", steps=1, nucleus_channel="DNA")  # type: ignore[call-overload]
        for n, pair in enumerate([texts, tuple(map(ph.Condition.parse, texts))])
    ]
    assert made[0].conditions == made[1].conditions
    assert made[0].nucleus_channel == 0
    model = ph.Translator.from_pretrained(made[1])
    plane = ph.read_screen("screen").fields[0].image().plane()
    there_and_back = [
        model.translate(plane, 60, 60, steps=2, source=one, target=other)
        for one, other in ((made[1].conditions[::-1]), map(ph.Condition.parse, made[1].conditions[::-1]))
    ]
    assert (there_and_back[0].image == there_and_back[1].image).all()


def test_a_translator_hands_its_choices_to_what_is_made_with_it(there: Path) -> None:
    import json

    model = ph.Translator.from_pretrained("adapter", guidance=0.5, held=["Reporter"], fine_noise=0.5, device="cpu")
    screen = ph.read_screen("screen").select("Well=A01")
    how: dict[str, Any] = {"cells": "whole", "strengths": [1.0], "steps": 2}
    facts = json.loads((ph.translate_screen(model, screen, out="translated", **how) / "provenance.json").read_text())
    assert (facts["guidance"], facts["held"], facts["fine_noise"]) == (0.5, ["Reporter"], 0.5)
    asked = ph.translate_screen(model, screen, out="asked", held=[], guidance=2.0, **how) / "provenance.json"
    facts = json.loads(asked.read_text())
    assert (facts["guidance"], facts["held"], facts["fine_noise"]) == (2.0, [], 0.5)


def test_two_translators_do_not_share_a_base(there: Path) -> None:
    plane = ph.read_screen("screen").fields[0].image().plane()
    first = ph.Translator.from_pretrained("adapter", held=[])
    before = first.translate(plane, 60, 60, steps=2).image
    second = ph.Translator.from_pretrained("adapter", held=[], guidance=0.1)
    assert second.base is not first.base
    assert (first.translate(plane, 60, 60, steps=2).image == before).all()


def html_of(one: Any) -> str:
    html: str = one._repr_html_()
    assert html.count("<div") == html.count("</div>")
    assert "<script" not in html
    return html


def test_what_a_notebook_shows_is_escaped_and_marked(there: Path) -> None:
    import numpy as np

    evil = "<script>alert(1)</script>"
    images = {evil: np.zeros((1, 32, 32), np.uint8)}
    screen = ph.screen_from_arrays(images, [evil], {evil: {"Compound": evil}})
    assert "&lt;script&gt;" in html_of(screen)
    assert "Synthetic" not in html_of(screen)
    assert "Synthetic" in html_of(ph.read_screen("screen"))

    adapter = ph.Adapter.load("adapter")
    assert "translocation" in html_of(adapter)
    adapter.source = adapter.target = ph.Condition.parse(evil)
    html_of(adapter)

    plane = ph.read_screen("screen").fields[0].image().plane()
    cell = ph.Translator.from_pretrained("adapter", held=["DNA"]).translate(plane, 60, 60, steps=2)
    html = html_of(cell)
    assert "Synthetic" in html
    assert html.count("data:image/png;base64,") == 4  # source, translated, and two channels that are not held
    assert "interpolated" not in html
    assert "0.3, interpolated" in html_of(cell.at_strength(0.3))
    with pytest.raises(ph.errors.ModelError, match=r"from 0 to 1, and 1\.4 lies outside"):
        cell.at_strength(1.4)

    profiles = ph.embed("screen", cells="whole")
    profiles.metadata["Metadata_Note"] = evil
    assert "6 cells" in html_of(profiles)


def test_reports_show_and_save_themselves(there: Path) -> None:
    report = ph.evaluate("adapter", "screen", unseen=True, most=8, steps=2, cells="whole")
    html = html_of(report)
    assert "synthetic" in html
    assert all(part.title in html for part in report.parts)
    page = report.save("evaluation")
    assert {path.name for path in page.parent.iterdir()} == {
        ".phenolens.json", "cells.parquet", "provenance.json", "report.html", "report.json",
    }  # fmt: skip
    with pytest.raises(ph.errors.OutputError, match="is not an evaluation"):
        report.save("screen")

    found = ph.evaluate_profiles(ph.embed("screen", cells="whole"), permutations=19)
    assert "6 wells" in html_of(found)
    assert found.save("profiles").is_file()


def readme_code() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_readme_shows_the_surface_in_twelve_lines_that_run(there: Path, quick: None) -> None:
    (code,) = readme_code()
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 12
    small = code.replace('out="adapter")', 'out="new", cells="whole", steps=1)').replace("y=250, x=250", "y=60, x=60")
    assert small.count("steps=1") == 1
    small = small.replace('"adapter"', '"new"').replace(
        "ph.evaluate(model, screen)", "ph.evaluate(model, screen, steps=2)"
    )
    names: dict[str, Any] = {}
    exec(compile(small, "README.md", "exec"), names)
    assert names["report"].parts
    assert names["cell"].image.shape[0] == 3


def test_the_api_page_lists_the_whole_surface() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\.\. auto\w+:: phenolens\.(\w+)$", page, re.MULTILINE))
    assert listed == set(ph.__all__)
