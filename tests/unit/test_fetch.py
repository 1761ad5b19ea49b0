"""Files that arrive whole, broken, late, twice, or not at all. The server is on this computer."""

import errno
import hashlib
import random
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from itertools import pairwise
from pathlib import Path

import pytest
from image_to_mesh.inference.errors import RunCancelled, WeightsError
from image_to_mesh.inference.hub import disk, fetch
from image_to_mesh.inference.hub.fetch import Refused, download, look_up, partial_path

CONTENT = random.Random(1).randbytes(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "owner/model/model.bin"


@pytest.fixture
def hub(loopback_hub):
    loopback_hub.files[NAME] = CONTENT
    return loopback_hub


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(fetch, "RETRY_WAITS", (0.01, 0.01, 0.01))
    monkeypatch.setattr(disk, "SPARE", 0)


def url_of(hub, name="model.bin", revision="main"):
    return f"{hub.address}/owner/model/resolve/{revision}/{name}"


def get(hub, target: Path, sha256=None, token=None, progress=lambda *_: None, **options):
    url = url_of(hub)
    remote = look_up(url, token, lambda: None)
    return download(url, target, remote, sha256, token, progress, **options)


def test_look_up_tells_size_hash_and_commit(hub):
    remote = look_up(url_of(hub), None, lambda: None)
    assert (remote.size, remote.sha256) == (len(CONTENT), SHA256)
    assert remote.revision == "0123456789abcdef0123456789abcdef01234567"
    assert all(seen.method == "HEAD" for seen in hub.seen)


def test_look_up_of_a_small_file_has_no_hash(hub):
    hub.small.add(NAME)
    remote = look_up(url_of(hub), None, lambda: None)
    assert (remote.size, remote.sha256) == (len(CONTENT), None)


def test_a_file_arrives_whole_with_progress_in_bytes(hub, tmp_path):
    target, steps = tmp_path / "model.bin", []
    assert get(hub, target, progress=lambda have, size: steps.append((have, size))) == SHA256
    assert target.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert [have for have, _size in steps] == sorted(have for have, _size in steps)
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_a_broken_transfer_goes_on_where_it_stopped(hub, tmp_path):
    hub.cuts = [300_000, 500_000]
    assert get(hub, tmp_path / "model.bin") == SHA256
    begins = [int(r.removeprefix("bytes=").rstrip("-")) for r in hub.ranges() if r]
    assert begins[0] <= 300_000
    assert 300_000 < begins[-1] <= 800_000


def test_a_later_download_goes_on_where_a_cancelled_one_stopped(hub, tmp_path):
    target = tmp_path / "model.bin"

    def stop_in_the_middle(have, _size):
        if have > 400_000:
            raise RunCancelled("Cancelled")

    with pytest.raises(RunCancelled):
        get(hub, target, progress=stop_in_the_middle)
    kept = partial_path(target, look_up(url_of(hub), None, lambda: None)).stat().st_size
    assert kept > 400_000
    hub.seen.clear()
    assert get(hub, target) == SHA256
    assert f"bytes={kept}-" in hub.ranges()
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(hub, tmp_path):
    hub.cuts, hub.ignores_ranges = [300_000], True
    assert get(hub, tmp_path / "model.bin") == SHA256


def test_a_connection_that_keeps_breaking_is_given_up_and_kept(hub, tmp_path):
    hub.cuts = [200_000, 0, 0, 0, 0, 0]
    with pytest.raises(WeightsError, match=r"keeps breaking.*check the internet connection"):
        get(hub, tmp_path / "model.bin")
    hub.cuts = []
    assert get(hub, tmp_path / "model.bin") == SHA256


def test_a_server_that_is_not_there(tmp_path):
    url = "http://127.0.0.1:9/owner/model/resolve/main/model.bin"
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1 keeps breaking"):
        look_up(url, None, lambda: None)


def test_wrong_content_is_removed(hub, tmp_path):
    hub.falsified = True
    with pytest.raises(WeightsError, match=rf"instead of {SHA256[:8]}\): it was removed"):
        get(hub, tmp_path / "model.bin")
    assert not list(tmp_path.iterdir())


def test_another_content_than_the_pinned_one_is_removed(hub, tmp_path):
    with pytest.raises(WeightsError, match="instead of 00000000"):
        get(hub, tmp_path / "model.bin", sha256="0" * 64)
    assert not list(tmp_path.iterdir())


def test_a_half_file_of_another_content_is_dropped(hub, tmp_path):
    old = tmp_path / "model.bin.000000000000.incomplete"
    old.write_bytes(b"something else")
    get(hub, tmp_path / "model.bin")
    assert not old.exists()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_refusals_are_not_tried_again(hub, status):
    hub.answers = [(status, {"X-Error-Code": "GatedRepo"})]
    with pytest.raises(Refused) as caught:
        look_up(url_of(hub), None, lambda: None)
    assert (caught.value.status, caught.value.reason) == (status, "GatedRepo")
    assert len(hub.seen) == 1


def test_a_busy_server_is_waited_for(hub, tmp_path):
    hub.answers = [(429, {"Retry-After": "0.2"}), (503, {"Retry-After": "0"})]
    started = time.monotonic()
    assert get(hub, tmp_path / "model.bin") == SHA256
    assert time.monotonic() - started >= 0.2


def test_a_server_that_asks_for_too_much_patience(hub):
    hub.answers = [(429, {"Retry-After": "900"})]
    with pytest.raises(Refused, match=r"come back in 15 minutes.*start the download again"):
        look_up(url_of(hub), None, lambda: None)


def test_a_failing_server_is_tried_again(hub, tmp_path):
    hub.answers = [(500, {}), (502, {})]
    assert get(hub, tmp_path / "model.bin") == SHA256


def test_the_token_stays_with_the_hub(hub, tmp_path):
    hub.token = "secret"
    assert get(hub, tmp_path / "model.bin", token="secret") == SHA256
    near = [seen for seen in hub.seen if not seen.path.startswith("/far/")]
    far = [seen for seen in hub.seen if seen.path.startswith("/far/")]
    assert {seen.authorization for seen in near} == {"Bearer secret"}
    assert {seen.authorization for seen in far} == {None}


def test_circles_end(hub):
    hub.answers = [(302, {"Location": "/owner/model/resolve/main/model.bin"})] * 9
    with pytest.raises(WeightsError, match="in circles"):
        look_up(url_of(hub), None, lambda: None)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such signal")
def test_a_closed_connection_does_not_end_blender():
    """Blender, unlike Python, leaves the signal of a write to a closed connection on."""
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1]); import conftest;"
        "from image_to_mesh.inference.hub import connection, fetch;"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL); fetch.RETRY_WAITS = ();"
        "r, w = os.pipe(); os.close(r);"
        "connection._followed = lambda *_, **__: os.write(w, b'GET');\n"
        "for ask in (lambda: fetch.look_up('https://x', None, lambda: None),"
        " lambda: connection.Stream('https://x', None, {}, lambda: None)):\n"
        "    try: ask()\n"
        "    except Exception as error: print('told:', error)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).resolve().parents[1])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.count("told: ")) == (0, 2), result


def test_only_secure_addresses():
    for url in ("http://example.org/model.bin", "file:///etc/passwd", "ftp://example.org/x"):
        with pytest.raises(WeightsError, match="not a secure address"):
            look_up(url, None, lambda: None)


@pytest.mark.parametrize("silent_after", [0, 200_000])
def test_a_silent_server_can_be_left_within_a_second(hub, tmp_path, silent_after):
    hub.silent_after = silent_after
    begun = []

    def stop_after_a_while(_have, _size):
        begun.append(time.monotonic())
        if begun[-1] - begun[0] > 0.3:
            raise RunCancelled("Cancelled")

    with pytest.raises(RunCancelled):
        get(hub, tmp_path / "model.bin", progress=stop_after_a_while)
    assert max(b - a for a, b in pairwise(begun)) < 0.5


def test_a_disk_without_room_is_found_before_anything_arrives(hub, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1_400_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    with pytest.raises(WeightsError, match=r"are needed in .* choose another Models Folder"):
        get(hub, tmp_path / "model.bin")
    assert hub.ranges() == []


def test_a_disk_that_fills_up_keeps_what_arrived(hub, tmp_path, monkeypatch):
    real_open = Path.open

    def open_almost_full(path, mode="r", *arguments, **options):
        file = real_open(path, mode, *arguments, **options)
        if not path.name.endswith(".incomplete") or "r" in mode:
            return file
        real_write = file.write

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def write(self, content):
                if file.tell() > 500_000:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return real_write(content)

        return Full()

    monkeypatch.setattr(Path, "open", open_almost_full)
    with pytest.raises(WeightsError, match=r"disk of .* is full.*goes on where it stopped"):
        get(hub, tmp_path / "model.bin")
    monkeypatch.undo()
    monkeypatch.setattr(disk, "SPARE", 0)
    hub.seen.clear()
    assert get(hub, tmp_path / "model.bin") == SHA256
    assert hub.ranges()[0] is not None


def test_a_folder_that_cannot_be_written_to(hub, tmp_path):
    with pytest.raises(WeightsError, match=r"cannot be written to .*choose another Models Folder"):
        fetch._receive(
            url_of(hub),
            tmp_path / "missing" / "x.incomplete",
            look_up(url_of(hub), None, lambda: None),
            None,
            hashlib.sha256(),
            0,
            lambda *_: None,
        )
