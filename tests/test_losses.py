"""Losses by hand, against naive loops, and where labels are missing."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from thinslice.layers.losses import mean_absolute_error, mean_squared_error  # noqa: E402

NAN = float("nan")


def test_values_by_hand() -> None:
    predictions = torch.tensor([[0.5, 0.2], [0.0, 1.0]])
    labels = torch.tensor([[0.25, 0.4], [0.5, 0.5]])
    # |differences| 0.25, 0.2, 0.5, 0.5; squares 0.0625, 0.04, 0.25, 0.25.
    assert mean_absolute_error(predictions, labels).item() == pytest.approx(1.45 / 4)
    assert mean_squared_error(predictions, labels).item() == pytest.approx(0.6025 / 4)


@pytest.mark.parametrize(("loss", "power"), [(mean_absolute_error, 1), (mean_squared_error, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_to_a_naive_loop_over_known_labels(loss, power: int, dtype: torch.dtype) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    predictions, labels = rng.uniform(size=(7, 5)), rng.uniform(size=(7, 5))
    labels[rng.random((7, 5)) < 0.4] = np.nan
    total, count = 0.0, 0
    for p, y in zip(predictions.ravel(), labels.ravel(), strict=True):
        if not np.isnan(y):
            total += abs(p - y) ** power
            count += 1
    value = loss(torch.tensor(predictions, dtype=dtype), torch.tensor(labels, dtype=dtype))
    assert value.item() == pytest.approx(total / count, rel=1e-6)


@pytest.mark.parametrize("loss", [mean_absolute_error, mean_squared_error])
def test_unknown_labels_get_no_gradient(loss) -> None:  # type: ignore[no-untyped-def]
    predictions = torch.full((2, 2), 0.3, requires_grad=True)
    loss(predictions, torch.tensor([[0.5, NAN], [NAN, NAN]])).backward()
    assert predictions.grad is not None
    assert predictions.grad[0, 0] != 0
    assert predictions.grad.flatten()[1:].tolist() == [0, 0, 0]
    predictions.grad = None
    nothing = loss(predictions, torch.full((2, 2), NAN))
    nothing.backward()
    assert nothing.item() == 0
    assert predictions.grad.abs().sum() == 0


@pytest.mark.parametrize("loss", [mean_absolute_error, mean_squared_error])
def test_batch_size_is_not_in_the_loss(loss) -> None:  # type: ignore[no-untyped-def]
    predictions, labels = torch.rand(4, 5), torch.rand(4, 5)
    twice = loss(predictions.repeat(2, 1), labels.repeat(2, 1))
    assert twice.item() == pytest.approx(loss(predictions, labels).item())
    with pytest.raises(ValueError, match="differ in shape"):
        loss(predictions, labels[:1])
