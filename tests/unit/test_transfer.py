"""Files that arrive whole, broken, late, twice, or not at all. The server is on this computer."""

import errno
import hashlib
import random
import shutil
import subprocess
import sys
import threading
import time
import types
from collections import namedtuple
from itertools import pairwise
from pathlib import Path

import pytest
from image_to_mesh.inference.errors import RunCancelled, WeightsError
from image_to_mesh.inference.hub import background, client, disk, transfer
from image_to_mesh.inference.hub.answers import Refused
from image_to_mesh.inference.hub.transfer import download, look_up, partial_path
from loopback_hub import COMMIT

CONTENT = random.Random(1).randbytes(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "owner/model/model.bin"


@pytest.fixture
def hub(loopback_hub):
    loopback_hub.files[NAME] = CONTENT
    return loopback_hub


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(transfer, "RETRY_WAITS", (0.01, 0.01, 0.01))
    monkeypatch.setattr(disk, "SPARE", 0)
    hurried = types.SimpleNamespace(sleep=lambda _seconds: None)
    monkeypatch.setattr("huggingface_hub.file_download.time", hurried)


def url_of(hub, name="model.bin", revision="main"):
    return f"{hub.address}/owner/model/resolve/{revision}/{name}"


def get(hub, target: Path, sha256=None, progress=lambda *_: None, **options):
    url = url_of(hub)
    remote = look_up(url, lambda: None)
    return download(url, target, remote, sha256, progress, **options)


def test_look_up_tells_size_hash_and_commit(hub):
    remote = look_up(url_of(hub), lambda: None)
    assert (remote.size, remote.sha256) == (len(CONTENT), SHA256)
    assert remote.revision == "0123456789abcdef0123456789abcdef01234567"
    assert all(seen.method == "HEAD" for seen in hub.seen)


def test_look_up_of_a_small_file_has_no_hash(hub):
    hub.small.add(NAME)
    remote = look_up(url_of(hub), lambda: None)
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
    kept = partial_path(target, look_up(url_of(hub), lambda: None)).stat().st_size
    assert kept > 400_000
    hub.seen.clear()
    assert get(hub, target) == SHA256
    assert f"bytes={kept}-" in hub.ranges()
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(hub, tmp_path):
    hub.cuts, hub.ignores_ranges = [300_000], True
    assert get(hub, tmp_path / "model.bin") == SHA256


def test_a_connection_that_keeps_breaking_is_given_up_and_kept(hub, tmp_path):
    hub.cuts = [200_000, *[0] * 60]
    with pytest.raises(WeightsError, match=r"keeps breaking.*check the internet connection"):
        get(hub, tmp_path / "model.bin")
    hub.cuts = []
    assert get(hub, tmp_path / "model.bin") == SHA256


def test_a_server_that_is_not_there(tmp_path):
    url = "http://127.0.0.1:9/owner/model/resolve/main/model.bin"
    with pytest.raises(WeightsError, match=r"127\.0\.0\.1 keeps breaking"):
        look_up(url, lambda: None)


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
        look_up(url_of(hub), lambda: None)
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
        look_up(url_of(hub), lambda: None)


def test_a_failing_server_is_tried_again(hub, tmp_path):
    hub.answers = [(500, {}), (502, {})]
    assert get(hub, tmp_path / "model.bin") == SHA256


def test_the_token_stays_with_the_hub(hub, tmp_path, monkeypatch):
    hub.token = "secret"
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert get(hub, tmp_path / "model.bin") == SHA256
    near = [seen for seen in hub.seen if not seen.path.startswith("/far/")]
    far = [seen for seen in hub.seen if seen.path.startswith("/far/")]
    assert {seen.authorization for seen in near} == {"Bearer secret"}
    assert {seen.authorization for seen in far} == {None}


def test_circles_end(hub):
    hub.answers = [(302, {"Location": "/owner/model/resolve/main/model.bin"})] * 25
    with pytest.raises(WeightsError, match="in circles"):
        look_up(url_of(hub), lambda: None)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such signal")
def test_a_closed_connection_does_not_end_blender():
    """Blender, unlike Python, leaves the signal of a write to a closed connection on."""
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1]); import conftest;"
        "from image_to_mesh.inference.hub import background;"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL); r, w = os.pipe(); os.close(r);\n"
        "try: background.answered(lambda: os.write(w, b'GET'), lambda: None)\n"
        "except BrokenPipeError as error: print('told:', error)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).resolve().parents[1])]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.count("told: ")) == (0, 1), result


def test_only_secure_addresses():
    for url in ("http://example.org/model.bin", "file:///etc/passwd", "ftp://example.org/x"):
        with pytest.raises(WeightsError, match="not a secure address"):
            look_up(url, lambda: None)


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
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WeightsError, match=r"cannot be written to .*choose another Models Folder"):
        get(hub, tmp_path / "file" / "model.bin")


# --- answers that keep to no rules ---------------------------------------------------------------


@pytest.mark.parametrize("is_measured", [True, False])
def test_more_than_was_promised_is_never_written(hub, tmp_path, is_measured):
    hub.surplus = 3_000_000
    if not is_measured:
        hub.changed = {"Content-Length": None}
    sizes = []

    def watch(_have, _size):
        sizes.extend(path.stat().st_size for path in tmp_path.iterdir())

    with pytest.raises(WeightsError, match=r"sends more than the 1,500,000 bytes that it promised"):
        get(hub, tmp_path / "model.bin", progress=watch)
    assert max(sizes) <= len(CONTENT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_small", [True, False])
def test_an_empty_file_is_a_file(hub, tmp_path, is_small):
    hub.files[NAME] = b""
    hub.small |= {NAME} if is_small else set()
    assert get(hub, tmp_path / "model.bin") == hashlib.sha256(b"").hexdigest()
    assert (tmp_path / "model.bin").read_bytes() == b""


def test_a_body_without_length_arrives_whole(hub, tmp_path):
    hub.changed = {"Content-Length": None}
    assert get(hub, tmp_path / "model.bin") == SHA256


@pytest.mark.parametrize(
    "where",
    [
        "http://[bad/x",
        "http://example.org/model.bin",
        "ftp://example.org/x",
        "https://",
        "//x:port/y",
    ],
)
def test_a_redirect_that_leads_nowhere_safe(hub, where):
    hub.changed = {"Location": where}
    with pytest.raises(WeightsError, match=r"makes no sense|is not a secure address"):
        look_up(url_of(hub), lambda: None)
    assert len(hub.seen) == 1


@pytest.mark.parametrize("size", ["-5", "1e9", "9" * 5000, "\u00b2", "", "two"])
def test_a_size_that_is_none(hub, tmp_path, size):
    """What cannot be understood is told, or as good as not said."""
    hub.changed = {"X-Linked-Size": size.encode().decode("latin-1")}
    try:
        assert get(hub, tmp_path / "model.bin") == SHA256
    except WeightsError as error:
        assert "makes no sense" in str(error)  # noqa: PT017 - either is right, a crash is not


@pytest.mark.parametrize("length", ["-1", "abc", "1,5", ""])
def test_a_length_that_is_none(hub, tmp_path, length):
    hub.changed = {"Content-Length": length}
    with pytest.raises(WeightsError, match="makes no sense"):
        get(hub, tmp_path / "model.bin")


def test_a_range_that_is_none(hub, tmp_path):
    hub.cuts, hub.changed = [300_000], {"Content-Range": "bytes 300000-1499999/*"}
    with pytest.raises(WeightsError, match="makes no sense"):
        get(hub, tmp_path / "model.bin")


@pytest.mark.parametrize("patience", ["inf", "nan", "-3", "Wed, 21 Oct 2026 07:28:00 GMT", "soon"])
def test_a_wait_that_is_none(hub, tmp_path, patience):
    hub.answers = [(429, {"Retry-After": patience})]
    assert get(hub, tmp_path / "model.bin") == SHA256


# --- what huggingface_hub is told ----------------------------------------------------------------


def test_a_mirror_counts_whenever_it_is_set(hub, tmp_path, monkeypatch):
    """huggingface_hub itself reads its environment once, when it is imported."""
    monkeypatch.setenv("HF_ENDPOINT", "https://elsewhere.example/")
    assert client.address("owner/model", "a b.bin", None) == (
        "https://elsewhere.example/owner/model/resolve/main/a%20b.bin"
    )
    monkeypatch.delenv("HF_ENDPOINT")
    assert client.address("owner/model", "x", "12") == (
        "https://huggingface.co/owner/model/resolve/12/x"
    )
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    assert client.address("owner/model", "model.bin", None) == url_of(hub)


def test_nothing_is_told_and_nothing_else_is_asked(hub, tmp_path):
    get(hub, tmp_path / "model.bin")
    assert {seen.agent for seen in hub.seen} == {"image-to-mesh"}
    assert {seen.path for seen in hub.seen} == {
        "/owner/model/resolve/main/model.bin",
        "/far/owner/model/model.bin",
    }


def test_nothing_is_shown_beside_our_own_progress(hub, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "0")
    monkeypatch.setenv("TQDM_POSITION", "-1")
    get(hub, tmp_path / "model.bin")
    assert capfd.readouterr() == ("", "")


def test_a_proxy_counts_whenever_it_is_set(hub, tmp_path, monkeypatch):
    get(hub, tmp_path / "direct.bin")
    address = f"http://127.0.0.1:1/owner/model/resolve/{COMMIT}/model.bin"
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", hub.address)
    hub.small.add(NAME)
    hub.seen.clear()
    remote = look_up(address, lambda: None)
    download(address, tmp_path / "model.bin", remote, SHA256, lambda *_: None)
    assert {seen.path for seen in hub.seen} == {address}
    monkeypatch.delenv("http_proxy")
    with pytest.raises(WeightsError, match="keeps breaking"):
        look_up(address, lambda: None)


@pytest.mark.parametrize("scheme", ["gopher", "socks5"])
def test_a_proxy_of_a_kind_that_cannot_be_used(hub, monkeypatch, scheme):
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:1")
    with pytest.raises(WeightsError, match=r"proxy cannot be used .*HTTPS_PROXY"):
        look_up(url_of(hub), lambda: None)


def test_a_token_that_is_none(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "s\u00e9same")
    with pytest.raises(WeightsError, match=r"token holds characters .* HF_TOKEN"):
        look_up(url_of(hub), lambda: None)
    assert hub.seen == []


def test_a_token_that_may_not_be_sent_unasked(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    look_up(url_of(hub), lambda: None)
    assert hub.seen[0].authorization is None


def test_settings_that_are_none(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "soon")
    with pytest.raises(WeightsError, match="variables that begin with HF_"):
        look_up(url_of(hub), lambda: None)


# --- leaving ------------------------------------------------------------------------------------


def test_who_was_left_hands_nothing_over_any_more():
    taken, ended = [], threading.Event()

    def work(hand_over):
        try:
            for number in range(1000):
                hand_over(number)
        finally:
            ended.set()

    parts = background.handed_over(work, lambda: None)
    taken.append(next(parts))
    parts.close()
    assert ended.wait(5)
    assert taken == [0]


def test_what_work_raises_reaches_its_caller():
    def work(hand_over):
        hand_over("a")
        raise KeyError("b")

    parts = background.handed_over(work, lambda: None)
    assert next(parts) == "a"
    with pytest.raises(KeyError, match="b"):
        next(parts)


def test_a_transfer_without_a_byte_is_left(hub, tmp_path, monkeypatch):
    """However long huggingface_hub itself would wait for a server that asks for patience."""
    monkeypatch.setattr(transfer, "LONGEST_SILENCE", 0.3)
    monkeypatch.setattr(transfer, "PATIENCE", 0.0)
    hub.silent_after = 200_000
    with pytest.raises(WeightsError, match=r"keeps breaking \(nothing came for 0 s\)"):
        get(hub, tmp_path / "model.bin")
    (partial,) = tmp_path.iterdir()
    assert 0 < partial.stat().st_size <= 200_000 + 65_536
