"""The built package, as napari's plugin manager installs it: what is in it, what PyPI shows, and that it works."""

import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import pytest

from project import ROOT

pytestmark = pytest.mark.slow

NEEDED = {
    "phenolens/napari.yaml",
    "phenolens/py.typed",
    "phenolens/icon.svg",
    "phenolens/adapters/demo/card.json",
    "phenolens/adapters/demo/adapter_model.safetensors",
    "phenolens/bases/compact/unet/diffusion_pytorch_model.safetensors",
    "phenolens/bases/compact/vae/diffusion_pytorch_model.safetensors",
    "phenolens/bases/compact/scheduler/scheduler_config.json",
    "phenolens/encoders/default/encoder.safetensors",
}
PROGRAMS = "Scripts" if sys.platform == "win32" else "bin"
STRANGE = ("tests/", "docs/", "shared/", "benchmarks/", "scripts/", ".github/")


def run(*command: object, cwd: Path = ROOT) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the sdist of this checkout, and the wheel made from that."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--outdir", folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as file:
        name = next(name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(file.read(name).decode())


def test_both_hold_the_package_and_its_weights_and_nothing_else(built: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        in_wheel = set(file.namelist())
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    stubs = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.pyi")}
    assert NEEDED | stubs <= in_wheel
    assert {f"src/{name}" for name in NEEDED | stubs} <= in_sdist
    assert not [name for name in in_wheel | in_sdist if name.startswith(STRANGE)]
    assert {name.partition("/")[0].partition("-")[0] for name in in_wheel} == {"phenolens", "napari_phenolens"}


def test_pypi_takes_both(built: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "twine", with_pip=True)
    python = tmp_path / "twine" / PROGRAMS / "python"
    run(python, "-m", "pip", "install", "twine")
    out = run(python, "-m", "twine", "check", "--strict", *built.iterdir())
    assert out.count("PASSED") == 2


def test_pictures_and_links_are_whole_addresses_of_what_is_there(metadata: Message) -> None:
    readme = str(metadata.get_payload())
    targets = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", readme)
    assert any(picture for picture, _ in targets)
    for picture, target in targets:
        if target.startswith("#"):
            continue
        assert target.startswith("https://"), target
        home = "https://raw.githubusercontent.com/" if picture else "https://github.com/"
        if (owner := "napari-phenolens/napari-phenolens/") in target:
            assert target.startswith(home + owner), target
            path = target.removeprefix(home + owner).removeprefix("blob/").removeprefix("main/").partition("#")[0]
            assert (ROOT / path).exists(), target


def test_the_hub_finds_what_it_shows(metadata: Message) -> None:
    assert "Framework :: napari" in metadata.get_all("Classifier", [])
    assert metadata["Summary"]
    assert metadata["License-Expression"] == "BSD-3-Clause"
    urls = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", []))
    assert {"Homepage", "Documentation", "Source Code", "Bug Tracker", "User Support"} <= set(urls)
    qt = re.compile(r"^(pyqt|pyside)|napari\[", re.IGNORECASE)
    assert not [one for one in metadata.get_all("Requires-Dist", []) if qt.match(one) and "extra ==" not in one]


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder of the programs of a new environment with napari and the wheel, each as new as the registry has it."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    programs = folder / PROGRAMS
    # torch alone is as new as here, for the newest brings gigabytes of CUDA
    torch = f"torch=={version('torch').partition('+')[0]}"
    run(programs / "python", "-m", "pip", "install", "napari[pyqt6]", torch, wheel)
    yield programs
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.fresh
def test_it_runs_where_it_is_installed(fresh: Path, wheel: Path, tmp_path: Path) -> None:
    run(fresh / "python", "-m", "pip", "check")
    assert run(fresh / "phenolens", "--version", cwd=tmp_path).split()[1] == wheel.name.split("-")[1]
    origin = run(fresh / "python", "-c", "import phenolens; print(phenolens.__file__)", cwd=tmp_path)
    assert Path(origin.strip()).is_relative_to(fresh.parent)
    run(fresh / "npe2", "validate", "napari-phenolens", cwd=tmp_path)
    shown = "from npe2 import PluginManager as P; m = P.instance(); m.discover(); print(*m.iter_manifests(), sep='\\n')"
    assert "display_name='Phenolens'" in run(fresh / "python", "-c", shown, cwd=tmp_path)
    run(fresh / "phenolens", "demo", "--headless", "--out", tmp_path / "demo", cwd=tmp_path)
    assert list((tmp_path / "demo").rglob("*.png"))


@pytest.mark.parametrize("how", ["clone without tags", "shallow clone", "tag", "archive", "sdist"])
def test_the_version_is_known_from(how: str, built: Path, tmp_path: Path) -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("there is no repository to clone")
    tree = tmp_path / "tree"
    depth = ["--depth", "1"] if how == "shallow clone" else []
    if how == "sdist":
        with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
            archive.extractall(tmp_path, filter="data")
        tree = next(tmp_path.glob("napari_phenolens-*"))
    else:
        run("git", "clone", "--quiet", "--no-tags", *depth, ROOT.as_uri(), tree)
    if how == "tag":
        run("git", "tag", "v7.1.2", cwd=tree)
    if how == "archive":
        run("git", "tag", "v7.1.2", cwd=tree)
        run("git", "archive", "--output", tmp_path / "tree.tar", "HEAD", cwd=tree)
        shutil.rmtree(tree)
        tree.mkdir()
        with tarfile.open(tmp_path / "tree.tar") as archive:
            archive.extractall(tree, filter="data")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "out", tree)
    found = next((tmp_path / "out").glob("*.whl")).name.split("-")[1]
    if how == "sdist":
        assert found == next(built.glob("*.whl")).name.split("-")[1]
    elif how in ("tag", "archive"):
        assert found == "7.1.2"
    else:
        assert re.match(r"0\.1\.dev\d+\+g[0-9a-f]+$", found), found
