"""CR-Net's losses against values worked out by hand."""

import math

import pytest

torch = pytest.importorskip("torch")

from thinslice.layers.losses import (  # noqa: E402
    bell_loss,
    class_cross_entropy,
    class_of,
    cr_net_class_weight,
    cr_net_regression_loss,
    mean_squared_error,
)

NAN = math.nan


class TestBell:
    def test_hand_values(self) -> None:
        # Errors of 0, 9 and 18: 300 (1 - e^0), 300 (1 - e^-1/2), 300 (1 - e^-2).
        labels = torch.tensor([[50.0], [50.0], [50.0]], dtype=torch.float64)
        predictions = torch.tensor([[50.0], [59.0], [32.0]], dtype=torch.float64)
        expected = (0.0 + 118.040802 + 259.399415) / 3
        assert bell_loss(predictions, labels).item() == pytest.approx(expected, abs=1e-5)

    def test_gradient_is_steepest_at_sigma(self) -> None:
        errors = torch.arange(1.0, 40.0, dtype=torch.float64)
        predictions = (50 + errors).requires_grad_()
        bell_loss(predictions, torch.full_like(predictions, 50.0)).backward()
        assert errors[predictions.grad.argmax()] == 9
        # gamma / sigma² * e * exp(-e² / (2 sigma²)) at e = 9, over 39 entries.
        assert predictions.grad.max().item() * 39 == pytest.approx(300 / 81 * 9 * math.exp(-0.5))

    def test_without_the_scale_it_is_a_multiple_of_the_squared_error(self) -> None:
        predictions, labels = torch.rand(50, 6, dtype=torch.float64), torch.rand(50, 6, dtype=torch.float64)
        ratio = bell_loss(predictions, labels) / mean_squared_error(predictions, labels)
        assert ratio.item() == pytest.approx(300 / 162, rel=0.004)

    @pytest.mark.parametrize(("sigma", "num_minima"), [(2.0, 3), (5.0, 1), (9.0, 1)])
    def test_figure_5_of_the_paper_does_not_hold(self, sigma: float, num_minima: int) -> None:
        """Labels of 40, 50 and 60: the sum is least at 50, their mean, as that of squared and absolute errors is.

        With the paper's sigma of 9 there is no other minimum; a narrow bell has one at each label, but none is as deep:
        at the middle label two errors are 10, at an outer one 10 and 20.
        """
        labels = torch.tensor([40.0, 50.0, 60.0], dtype=torch.float64)
        grid = torch.arange(30.0, 70.05, 0.1, dtype=torch.float64)
        values = torch.stack([bell_loss(x.expand(3), labels, sigma=sigma) for x in grid])
        assert grid[values.argmin()].item() == pytest.approx(50, abs=0.1)
        inner = values[1:-1]
        minima = grid[1:-1][(inner < values[:-2]) & (inner < values[2:])]
        assert len(minima) == num_minima

    def test_a_batch_that_is_not_symmetric_keeps_its_narrow_bells_apart(self) -> None:
        """What figure 5 wants to show does hold where one label is commoner, and the bell narrower than the paper's."""
        labels = torch.tensor([40.0, 40.0, 50.0, 60.0], dtype=torch.float64)
        grid = torch.arange(30.0, 70.0, 0.1, dtype=torch.float64)
        squares = torch.stack([mean_squared_error(x.expand(4), labels) for x in grid])
        assert grid[squares.argmin()].item() == pytest.approx(47.5, abs=0.1)
        least = {}
        for sigma in (2.0, 9.0):
            values = torch.stack([bell_loss(x.expand(4), labels, sigma=sigma) for x in grid])
            least[sigma] = grid[values.argmin()].item()
        assert least[2.0] == pytest.approx(40, abs=0.1)
        assert 43 < least[9.0] < 47.5


class TestRegression:
    def test_hand_values(self) -> None:
        # Errors, times 100, of 10 and -20.
        predictions = torch.tensor([[0.6], [0.3]], dtype=torch.float64)
        labels = torch.tensor([[0.5], [0.5]], dtype=torch.float64)
        parts = cr_net_regression_loss(predictions, labels, ("l1", "l2", "bell"))
        bell = (300 * (1 - math.exp(-100 / 162)) + 300 * (1 - math.exp(-400 / 162))) / 2
        assert parts["l1"].item() == pytest.approx(15)
        assert parts["l2"].item() == pytest.approx(250)
        assert parts["bell"].item() == pytest.approx(bell)
        assert parts["loss"].item() == pytest.approx(15 + 250 + bell)

    def test_only_the_terms_asked_for(self) -> None:
        parts = cr_net_regression_loss(torch.zeros(2, 3), torch.ones(2, 3), ("l1",))
        assert set(parts) == {"loss", "l1"}
        assert parts["loss"].item() == 100

    def test_is_a_mean_over_the_batch(self) -> None:
        predictions, labels = torch.rand(4, 6), torch.rand(4, 6)
        once = cr_net_regression_loss(predictions, labels, ("l1", "l2", "bell"))["loss"]
        twice = cr_net_regression_loss(predictions.repeat(2, 1), labels.repeat(2, 1), ("l1", "l2", "bell"))["loss"]
        torch.testing.assert_close(once, twice)

    def test_unknown_labels_get_no_gradient(self) -> None:
        predictions = torch.full((2, 2), 0.4, requires_grad=True)
        labels = torch.tensor([[0.5, NAN], [NAN, NAN]])
        parts = cr_net_regression_loss(predictions, labels, ("l1", "l2", "bell"))
        parts["loss"].backward()
        assert parts["l1"].item() == pytest.approx(10, abs=1e-4)
        assert (predictions.grad != 0).tolist() == [[True, False], [False, False]]


class TestClasses:
    def test_edges_belong_to_the_interval_above(self) -> None:
        labels = torch.tensor([0.0, 0.4999, 0.5, 0.55, 0.6, 0.7, 1.0, NAN], dtype=torch.float64)
        assert class_of(labels, (0.5, 0.6, 0.7)).tolist() == [0, 0, 1, 1, 2, 3, 3, -1]

    def test_cross_entropy_by_hand(self) -> None:
        # Two clips, two traits, two classes; probabilities 1/2 and 1/2, 3/4 and 1/4.
        even, uneven = [0.0, 0.0], [math.log(3), 0.0]
        logits = torch.tensor([[even, uneven], [even, uneven]], dtype=torch.float64)
        classes = torch.tensor([[0, 0], [1, 1]])
        expected = (2 * math.log(2)) / 2 + (math.log(4 / 3) + math.log(4)) / 2  # Mean over clips, sum over traits.
        assert class_cross_entropy(logits, classes).item() == pytest.approx(expected)

    def test_unknown_clips_are_left_out_of_their_traits_mean(self) -> None:
        logits = torch.zeros(2, 2, 4, requires_grad=True)
        value = class_cross_entropy(logits, torch.tensor([[1, -1], [2, 3]]))
        value.backward()
        assert value.item() == pytest.approx(2 * math.log(4))
        assert logits.grad[0, 1].abs().sum() == 0
        assert class_cross_entropy(logits, torch.full((2, 2), -1)).item() == 0


def test_weight_of_the_classes_falls() -> None:
    assert [cr_net_class_weight(epoch, 50) for epoch in (0, 1, 49)] == [200, 100, 4]
