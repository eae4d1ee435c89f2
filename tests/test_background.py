"""Files written behind the training: copied first, in order, whole or not at all; no error is lost."""

import threading
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from thinslice.errors import OutputError  # noqa: E402
from thinslice.train.background import MOST_WAITING, BackgroundWriter, copy_tensors  # noqa: E402


def test_what_is_written_is_what_was_given(tmp_path: Path) -> None:
    weight = torch.zeros(3)
    with BackgroundWriter() as writer:
        writer.write_torch({"weight": weight, "of": [weight, (weight, 1)]}, tmp_path / "a.pt")
        weight.fill_(7)  # The next step changes it while it is being written.
    found = torch.load(tmp_path / "a.pt", weights_only=True)
    assert found["weight"].tolist() == found["of"][0].tolist() == found["of"][1][0].tolist() == [0, 0, 0]


def test_files_appear_in_the_order_asked_for(tmp_path: Path) -> None:
    done: list[int] = []
    with BackgroundWriter() as writer:
        for number in range(5):
            writer.write(lambda number=number: done.append(number))
    assert done == [0, 1, 2, 3, 4]


def test_few_copies_wait_at_a_time() -> None:
    free, third = threading.Event(), threading.Event()
    with BackgroundWriter() as writer:
        for _ in range(MOST_WAITING):
            writer.write(lambda: free.wait(60) and None)
        asking = threading.Thread(target=lambda: (writer.write(lambda: None), third.set()))
        asking.start()
        assert not third.is_set()
        free.set()
        asking.join(60)
        assert third.is_set()


def test_an_error_is_raised_by_the_next_call_or_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    def at_the_end() -> None:
        with BackgroundWriter() as writer:
            writer.write_torch({}, tmp_path / "folder")

    def by_the_next() -> None:
        with BackgroundWriter() as writer:
            for number in range(MOST_WAITING + 1):
                writer.write_torch({}, tmp_path / ("folder" if number == 0 else f"{number}.pt"))

    for use in (at_the_end, by_the_next):
        with pytest.raises(OutputError, match="folder: is a folder"):
            use()


def test_an_error_of_the_training_is_not_hidden_by_one_of_writing(tmp_path: Path) -> None:
    def use() -> None:
        with BackgroundWriter() as writer:
            writer.write_torch({}, tmp_path)
            raise ValueError("the loss is nan")

    with pytest.raises(ValueError, match="the loss is nan"):
        use()


def test_copies_keep_what_is_no_tensor() -> None:
    assert copy_tensors({"epoch": 3, "name": "a", "of": (None, [1.5])}) == {
        "epoch": 3,
        "name": "a",
        "of": (None, [1.5]),
    }
