"""The package as a Python programmer meets it: names, signatures, what a notebook shows, the page about it."""

import inspect
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import thinslice
from media_files import voice_like, write_media
from report_examples import example
from thinslice.errors import MissingExtraError
from thinslice.prediction_table import PredictionTable
from thinslice.traits import POLES, TRAITS
from thinslice.types import Failure

HERE = Path(__file__).parent


def parameters(function):
    return {
        name: (parameter.kind, parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    }


def test_predict_has_the_arguments_of_the_predictor_and_its_bundle():
    ours, predictors = parameters(thinslice.predict), parameters(thinslice.Predictor.predict)
    assert ours.pop("bundle")[1] == thinslice.DEFAULT_BUNDLE
    assert ours == predictors
    kinds = {
        kind for function in (thinslice.predict, thinslice.predict_many) for kind, _ in parameters(function).values()
    }
    assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    shared = {"bundle", *predictors} - {"clip", "transcript", "on_stage"}
    assert shared | {"clips", "workers", "progress"} == set(parameters(thinslice.predict_many))


def test_dir_is_the_public_api_and_all_of_it_is_there():
    names = dir(thinslice)
    assert names == sorted({*thinslice.__all__, "__version__"})
    assert all(getattr(thinslice, name) is not None for name in names)
    with pytest.raises(AttributeError, match="no attribute 'predicted'"):
        thinslice.predicted  # noqa: B018


def test_import_loads_nothing_heavy():
    code = "import sys, json, thinslice; dir(thinslice); print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    heavy = {"numpy", "scipy", "torch", "av", "onnxruntime", "matplotlib", "pandas", "PIL", "jinja2", "rich", "click"}
    assert heavy.isdisjoint(modules)
    assert len([name for name in modules if name.startswith("thinslice.")]) < 8


class Tags(HTMLParser):
    """Collects tags, and makes sure that each is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.labels = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.labels += [value for name, value in attributes if name == "aria-label"]
        assert not any(name.startswith("on") for name, _ in attributes)
        if tag != "br":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_prediction_shows_itself_in_a_line_and_in_a_notebook():
    prediction = example("<b>talk</b>.mp4", warnings=["a <i>warning</i>"])
    assert repr(prediction).count("\n") == 0
    assert len(repr(prediction)) < 250
    assert f"openness {prediction.traits['openness'].score:.2f}" in repr(prediction)
    page = prediction._repr_html_()
    tags = Tags(page)
    assert "script" not in tags.seen
    assert "b" not in tags.seen
    assert "&lt;i&gt;warning" in page
    assert len(page) < 12_000
    assert tags.seen.count("circle") == len(prediction.traits)
    for name, score in prediction.traits.items():
        spoken = f"{name} {score.score:.2f}, 80% interval {score.low:.2f} to {score.high:.2f}"
        assert spoken in tags.labels
        assert all(pole in page for pole in POLES[name])
        assert f'<circle cx="{100 * score.score:.1f}%"' in page


def table(num_clips=40):
    clips = [example(f"{number}.mp4", seed=number, targets=TRAITS) for number in range(num_clips)]
    return PredictionTable((Failure("bad.mp4", "bad.mp4: is empty"), *clips))


def test_a_table_is_a_sequence_whose_slices_are_tables():
    results = table()
    assert len(results) == 41
    assert [entry.clip for entry in results][:2] == ["bad.mp4", "0.mp4"]
    assert isinstance(results[:3], PredictionTable)
    assert results[:3] == PredictionTable(results.entries[:3])
    assert results[-1].clip == "39.mp4"
    assert len(results.predictions) == 40
    assert [failure.clip for failure in results.failures] == ["bad.mp4"]
    assert results[1] in results
    lines = repr(results).splitlines()
    assert lines[0] == "PredictionTable of 41 clips, 1 failed"
    assert "35 more" in lines[-1]
    assert len(lines) == 8


def test_a_table_in_a_notebook_is_bounded():
    page = table()._repr_html_()
    tags = Tags(page)
    assert tags.seen.count("tr") == 31
    assert "and 10 more clips" in page
    assert "1 not scored, such as bad.mp4: bad.mp4: is empty" in page
    Tags(PredictionTable(())._repr_html_())


def test_a_table_as_a_data_frame():
    pytest.importorskip("pandas")
    frame = table(3).to_pandas()
    assert list(frame.columns[:6]) == ["clip", *TRAITS]
    assert list(frame.columns[-4:]) == ["used", "bundle", "warnings", "error"]
    assert frame["error"].tolist()[0] == "bad.mp4: is empty"
    assert frame["openness"].isna().tolist() == [True, False, False, False]
    assert "error" not in table(3)[1:].to_pandas().columns
    assert len(PredictionTable(()).to_pandas()) == 0


def test_without_pandas_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"to_pandas\(\) needs .* pip install 'thinslice\[pandas\]'"):
        table(1).to_pandas()


@pytest.mark.parametrize("results", [table(40), table(1), PredictionTable(())])
def test_a_plot_has_a_dot_for_each_score(results):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert results.plot(axes) is axes
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert len(dots) == (5 if results.predictions else 0)
    if results.predictions:
        expected = [prediction.traits["openness"].score for prediction in results.predictions]
        assert list(dots[0].get_xdata()) == expected
        assert axes.get_xlim() == (0, 1)


def test_the_page_about_python_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas")
    import shutil

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setattr("thinslice.features.asr.recognise", lambda samples, cpu_threads: (None, "it is off"))
    shutil.copy(HERE.parent / "examples" / "sample.mp4", "talk.mp4")
    Path("talks").mkdir()
    for name in ("a.wav", "b.wav"):
        write_media(Path("talks") / name, [voice_like(2.0, 16_000)], rate_hz=16_000, audio_codec="pcm_s16le")
    page = (HERE.parent / "docs" / "python.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    assert len(blocks) == 6
    exec(compile("\n".join(blocks), "docs/python.md", "exec"), {"__name__": "page"})
    said = capsys.readouterr().out
    assert "Prediction('talk.mp4': openness 0." in said
    assert said.count("absent.mp4: no such file; check its name and folder") >= 2
    assert Path("scores.png").stat().st_size > 5_000
    assert len(Path("predictions.csv").read_text().splitlines()) == 4
