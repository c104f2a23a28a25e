"""Bases come from the package, a folder, or a hub: here a small one on this computer."""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from phenolens.runtime.errors import ModelError, OutputError
from phenolens.runtime.models import fetch_base, local_base, weights_variant
from phenolens.runtime.output_kinds import DOWNLOAD
from phenolens.runtime.outputs import whose
from phenolens.runtime.progress import finish

NAME = "cells/base"
REVISION = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 12_000  # 3 MB
FILES = {
    "model_index.json": b"{}",
    "scheduler/scheduler_config.json": b'{"steps": 1000}',
    "text_encoder/model.safetensors": b"not needed",
    "unet/config.json": b'{"in": 4}',
    "unet/diffusion_pytorch_model.bin": b"the same in an older form",
    "unet/diffusion_pytorch_model.fp16.safetensors": b"a variant",
    "unet/diffusion_pytorch_model.safetensors": WEIGHTS,
    "vae/config.json": b'{"out": 3}',
    "vae/diffusion_pytorch_model.bin": b"only the older form",
}
NEEDED = {
    "scheduler/scheduler_config.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.bin",
}


def git_checksum(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(ThreadingHTTPServer):
    """As much of a model hub as a download asks for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = dict(FILES)
        self.sha256 = hashlib.sha256(WEIGHTS).hexdigest()
        self.asked: list[tuple[str, str]] = []
        self.blobs: dict[str, str] = {}
        self.cut_after: int | None = None
        self.pause = 0.0  # seconds after each 64 KB


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server
        if self.path.startswith(f"/api/models/{NAME}/tree/{REVISION}"):
            entries = [
                {"type": "file", "path": path, "size": len(data), "oid": hub.blobs.get(path, git_checksum(data))}
                for path, data in hub.files.items()
            ]
            self.reply(200, json.dumps(entries).encode(), "application/json")
        elif self.path.startswith(f"/api/models/{NAME}"):
            siblings = [
                {"rfilename": path, "size": len(data), "blobId": hub.blobs.get(path, git_checksum(data))}
                | ({"lfs": {"sha256": hub.sha256, "size": len(data), "pointerSize": 1}} if data == WEIGHTS else {})
                for path, data in hub.files.items()
            ]
            body = {"id": NAME, "sha": REVISION, "siblings": siblings, "cardData": {"license": "apache-2.0"}}
            self.reply(200, json.dumps(body).encode(), "application/json")
        elif self.path.startswith(f"/{NAME}/resolve/{REVISION}/"):
            path = self.path.split(REVISION + "/")[1]
            span = self.headers.get("Range", "")
            if self.command == "GET":
                hub.asked.append((path, span))
            start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
            self.reply(
                206 if span else 200, hub.files[path][start:], "application/octet-stream", git_checksum(path.encode())
            )
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def reply(self, status: int, body: bytes, kind: str, etag: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.server.cut_after
        if cut is not None and len(body) > cut:
            body, self.close_connection = body[:cut], True
        for start in range(0, len(body), 1 << 16):
            self.wfile.write(body[start : start + (1 << 16)])
            time.sleep(self.server.pause)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 16)
    monkeypatch.delenv("PHENOLENS_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield hub
    hub.shutdown()
    hub.server_close()
    thread.join(5)


def relative_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert local_base(str(tmp_path)) == tmp_path
    assert finish(fetch_base(str(tmp_path))) == tmp_path


def test_only_what_is_needed_is_downloaded_once(hub: Hub) -> None:
    assert local_base(NAME) is None
    progress = []
    folder = finish(fetch_base(NAME), progress.append)
    assert relative_files(folder) == NEEDED | {"source.json", ".phenolens.json"}
    assert whose(folder, DOWNLOAD)[1] == []
    assert (folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS
    assert json.loads((folder / "source.json").read_text()) == {
        "name": NAME,
        "revision": REVISION,
        "licence": "apache-2.0",
    }
    assert progress[-1].step == progress[-1].total == sum(len(FILES[path]) for path in NEEDED)
    assert progress[-1].message == f"Downloading {NAME}: 3 of 3 MB"
    assert [event.step for event in progress] == sorted(event.step for event in progress)
    assert local_base(NAME) == folder
    asked = len(hub.asked)
    assert finish(fetch_base(NAME)) == folder
    assert len(hub.asked) == asked


def test_a_cancelled_download_stops_at_once_and_goes_on_with_the_file_it_was_at(hub: Hub) -> None:
    hub.pause = 0.02
    job = fetch_base(NAME)
    for progress in job:
        if progress.step > 1_000_000:
            break
    job.close()
    assert local_base(NAME) is None
    asked = len(hub.asked)
    time.sleep(0.3)
    assert len(hub.asked) == asked  # nothing goes on behind one's back
    hub.pause = 0
    finish(fetch_base(NAME))
    times = Counter(path for path, _ in hub.asked)
    assert (times["unet/config.json"], times["unet/diffusion_pytorch_model.safetensors"]) == (1, 2)
    assert (local_base(NAME) / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS


def test_a_broken_connection_is_a_sentence_and_can_be_taken_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.cut_after = 0
    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda seconds: None))
    with pytest.raises(ModelError, match="goes on with the file at which it stopped"):
        finish(fetch_base(NAME))
    assert local_base(NAME) is None
    hub.cut_after = None
    finish(fetch_base(NAME))
    assert (local_base(NAME) / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS


def test_a_damaged_file_is_refused_and_asked_for_anew(hub: Hub) -> None:
    hub.sha256 = "0" * 64
    with pytest.raises(ModelError, match="arrived damaged"):
        finish(fetch_base(NAME))
    assert local_base(NAME) is None
    hub.sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    finish(fetch_base(NAME))
    assert [span for path, span in hub.asked if path.endswith("model.safetensors")] == ["", ""]


def test_a_model_without_a_unet_is_refused(hub: Hub) -> None:
    hub.files = {path: data for path, data in FILES.items() if not path.startswith("unet/")}
    with pytest.raises(ModelError, match="no folder 'unet'"):
        finish(fetch_base(NAME))


def test_a_small_file_is_checked_by_git_s_checksum(hub: Hub) -> None:
    hub.blobs["unet/config.json"] = git_checksum(b"something else")
    with pytest.raises(ModelError, match=r"unet/config.json of cells/base arrived damaged"):
        finish(fetch_base(NAME))
    assert local_base(NAME) is None
    hub.blobs.clear()
    finish(fetch_base(NAME))


def test_half_precision_is_taken_where_there_is_no_other(hub: Hub) -> None:
    hub.files.pop("unet/diffusion_pytorch_model.safetensors")
    folder = finish(fetch_base(NAME))
    assert relative_files(folder / "unet") == {"config.json", "diffusion_pytorch_model.fp16.safetensors"}
    assert weights_variant(folder / "unet") == "fp16"
    assert weights_variant(folder / "vae") is None


def test_a_model_without_weights_that_can_be_read_is_refused(hub: Hub) -> None:
    hub.files.pop("vae/diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match="no weights in its folder 'vae'"):
        finish(fetch_base(NAME))
    assert hub.asked == []


def test_name_and_what_is_left_to_download_are_said_first(hub: Hub) -> None:
    job = fetch_base(NAME)
    assert next(job).message == f"Asking the hub for {NAME}"
    first = next(job)
    assert first.message.startswith(f"{NAME} is not here yet: downloading 3 MB to ")
    assert (first.step, first.total) == (0, sum(len(FILES[path]) for path in NEEDED))
    assert hub.asked == []
    job.close()


def test_what_is_there_of_a_download_is_not_counted_again(hub: Hub) -> None:
    hub.sha256 = "0" * 64  # so that the first one fails at its end
    hub.files["vae/diffusion_pytorch_model.bin"] = bytes(1_000_000)
    with pytest.raises(ModelError, match="arrived damaged"):
        finish(fetch_base(NAME))
    again = fetch_base(NAME)
    next(again)
    assert "downloading 3 MB" in next(again).message
    again.close()


def test_a_disk_without_room_is_a_sentence_before_the_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phenolens.runtime.models.shutil.disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    with pytest.raises(OutputError, match=r"needs 3 MB in .* where 1 MB are free: make room, or set PHENOLENS_CACHE"):
        finish(fetch_base(NAME))
    assert hub.asked == []


def test_an_unknown_name_is_a_sentence(hub: Hub) -> None:
    with pytest.raises(ModelError, match=r"no model cells/nothing at http.*check the name"):
        finish(fetch_base("cells/nothing"))


@pytest.mark.parametrize("name", ["compakt", "/no/such/folder", "a/b/c", "../up", ""])
def test_what_is_no_name_at_all(name: str) -> None:
    assert local_base(name) is None
    with pytest.raises(ModelError, match="neither 'compact', nor an existing folder"):
        finish(fetch_base(name))


@pytest.mark.parametrize("variable", ["PHENOLENS_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_asks_nobody(hub: Hub, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ModelError, match="downloads are switched off"):
        finish(fetch_base(NAME))
    assert hub.asked == []


def test_no_hub_is_a_sentence(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="check the connection"):
        finish(fetch_base(NAME))


def test_a_cache_that_cannot_be_made_is_a_sentence(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PHENOLENS_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="a file is where a folder is needed"):
        finish(fetch_base(NAME))
