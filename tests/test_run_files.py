"""A damaged run folder costs one line that names the file and what to do, and doing that goes on with the run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="the extra train is not installed")

from thinslice.errors import UsageError
from thinslice.train.documents import StageEnd
from thinslice.train.export import load_trained
from thinslice.train.loop import train
from thinslice.train.run import RunFolder
from thinslice.train.settings import LoopSettings
from toy_recipe import toy_data, toy_recipe

CUT_SHORT = LoopSettings(device="cpu", tensorboard=False, max_steps=6)
GO_ON = LoopSettings(device="cpu", tensorboard=False, resume=True)


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(toy_recipe(), toy_data(), tmp_path_factory.mktemp("toy") / "run", CUT_SHORT).path


@pytest.fixture
def run(cut_short: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cut_short, tmp_path / "run"))


def go_on(run: Path) -> RunFolder:
    return train(toy_recipe(), toy_data(), run, GO_ON)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def empty(data: bytes) -> bytes:
    return b""


def other(data: bytes) -> bytes:
    return b'\x00\xff\x00{"a": [1, 2,\n\n'


DAMAGE: list[tuple[str, Callable[[bytes], bytes]]] = [
    *[("stages/all/last.ckpt", damage) for damage in (cut, empty, other)],
    *[("stages/all/done.json", damage) for damage in (cut, empty, other)],
    *[("run.json", damage) for damage in (cut, empty, other)],
    *[("steps.csv", damage) for damage in (other, lambda data: data.replace(b"all", b"all,,"))],
    *[("history.csv", damage) for damage in (other, lambda data: data.replace(b"stage", b"scene"))],
    ("steps.csv", lambda data: data.replace(b"\nall,1,1,", b"\nall,1,first,")),
]


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_a_damaged_file_is_one_line_and_its_remedy_works(
    run: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    path = run / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UsageError, match="damaged") as error:
        go_on(run)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    if name == "run.json":
        assert "train again into another folder" in line
        return
    assert "delete it" in line
    path.unlink()
    assert go_on(run).load().status == "finished"


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("run.json", {"seed": "x"}, r"at `\$.seed`"),
        ("run.json", {"data": {}}, r"num_clips"),
        ("run.json", {"sessions": None}, r"at `\$.sessions`"),
        ("run.json", {"format": 9}, r"Invalid enum value 9"),
        ("run.json", {"mood": "good"}, "unknown field `mood`"),
        ("stages/all/done.json", {"keep": "worst"}, "Invalid enum value 'worst'"),
        ("stages/all/done.json", {"steps": None}, r"at `\$.steps`"),
    ],
)
def test_a_wrong_field_is_named(run: Path, name: str, change: dict[str, object], reason: str) -> None:
    path = run / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UsageError, match=reason):
        go_on(run)


def test_damaged_weights_are_one_line(run: Path) -> None:
    path = run / "stages/all/last.pt"
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(UsageError, match=r"last\.pt: cannot be loaded") as error:
        load_trained(toy_recipe(), RunFolder(run))
    assert "\n" not in str(error.value)


def test_what_a_run_writes_is_read_as_typed_values(run: Path) -> None:
    folder = go_on(run)
    document, scores = folder.load(), folder.load_scores()
    assert (document.recipe, document.status, document.seed) == ("toy", "finished", 0)
    assert document.data.num_clips == {"train": 30, "validation": 11, "test": 7}
    assert len(document.data.labels.quantiles["openness"]) == 101
    assert [session.settings["resume"] for session in document.sessions] == [False, True]
    assert isinstance(folder.load_end("all"), StageEnd)
    assert scores["test"].num_clips == 7
    assert set(scores["test"].residuals) == set(toy_recipe().outputs)


def test_a_run_of_thinslice_0_1_can_be_read_and_resumed(run: Path) -> None:
    path = run / "run.json"
    document = json.loads(path.read_text())
    document["data"] |= document["data"].pop("origin")  # Which lay beside the counts.
    path.write_text(json.dumps(document))
    assert go_on(run).load().status == "finished"


def test_a_run_that_is_not_finished_says_how_to_go_on(tmp_path: Path) -> None:
    for load in (RunFolder(tmp_path).load_scores, lambda: RunFolder(tmp_path).load_end("all")):
        with pytest.raises(UsageError, match="--resume"):
            load()
    with pytest.raises(UsageError, match="make one with: thinslice train"):
        RunFolder(tmp_path).load()
