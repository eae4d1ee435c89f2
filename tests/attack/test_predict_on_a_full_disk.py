"""`thinslice predict` without room for its results: one line, and the results of an earlier run stay whole."""

from pathlib import Path

import pytest

from command_line import run
from media_files import voice_like, write_media
from test_files import full_disk


def test_results_that_do_not_fit_leave_the_earlier_ones_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thinslice.features.asr.recognise", lambda samples, cpu_threads: (None, "not recognised"))
    clip, out = tmp_path / "a.wav", tmp_path / "out"
    write_media(clip, [voice_like(1.5, 16_000)], rate_hz=16_000, audio_codec="pcm_s16le")
    assert run("predict", clip, "--out", out)[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with full_disk(2_000):  # The table fits, the page does not.
        code, _, stderr = run("predict", clip, "--out", out, "--end", "1.2")
    assert code == 2
    assert stderr.splitlines()[-1].startswith(f"thinslice: {out / 'report.html'}: cannot be written (File too large)")
    assert sorted(path.name for path in out.iterdir()) == ["predictions.csv", "report.html"]
    assert (out / "report.html").read_bytes() == before["report.html"]
