"""Predictions of many clips, as one value: to look at, to go through, and as a data frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from thinslice.errors import MissingExtraError, counted
from thinslice.notebook import table_html
from thinslice.targets import in_order, poles_of
from thinslice.types import Failure, Prediction, prediction_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NUM_SHOWN = 6


@dataclass(frozen=True, repr=False)
class PredictionTable(Sequence[Prediction | Failure]):
    """The results of many clips, in their order; a sequence like any other, whose slices are tables.

    Attributes:
        entries: a `Prediction` or a `Failure` for each clip.
    """

    entries: tuple[Prediction | Failure, ...]

    @overload
    def __getitem__(self, place: int) -> Prediction | Failure: ...

    @overload
    def __getitem__(self, place: slice) -> "PredictionTable": ...

    def __getitem__(self, place: int | slice) -> "Prediction | Failure | PredictionTable":
        return PredictionTable(self.entries[place]) if isinstance(place, slice) else self.entries[place]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The clips that were scored."""
        return tuple(entry for entry in self.entries if isinstance(entry, Prediction))

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The clips that were not."""
        return tuple(entry for entry in self.entries if isinstance(entry, Failure))

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame in the form of a prediction file, and a column `error` where clips failed.

        One row a clip, in order: clip, the scores and their 80% intervals in [0, 1], used, bundle, warnings.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("to_pandas()", "pandas") from None
        if not self.entries:
            return pd.DataFrame(columns=["clip"])
        rows = [prediction_rows([e])[0] if isinstance(e, Prediction) else e.to_dict() for e in self.entries]
        frame = pd.DataFrame(rows)
        # A first row that failed must not decide the order of the columns.
        scored = [name for row in rows if "error" not in row for name in row]
        columns = list(dict.fromkeys(["clip", *scored, *frame.columns]))
        return frame[columns]

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the scores of all clips: a row for each target, a dot for each clip, a bar at their median.

        A single clip is drawn with its 80% intervals.

        Args:
            ax: matplotlib's axes to draw on; new ones if None.

        Returns:
            The axes.
        """
        if ax is None:
            from matplotlib import pyplot

            _, ax = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
        scored = self.predictions
        names = in_order(name for prediction in scored for name in prediction.traits)
        for row, name in enumerate(names):
            traits = [prediction.traits[name] for prediction in scored if name in prediction.traits]
            scores = [trait.score for trait in traits]
            if len(traits) == 1:
                ax.plot(
                    [traits[0].low, traits[0].high], [row, row], color="#bcd6ea", linewidth=7, solid_capstyle="butt"
                )
            else:
                ax.plot([_median(scores)] * 2, [row - 0.3, row + 0.3], color="#a8470c", linewidth=2)
            alpha = max(0.15, min(0.9, 12 / len(scores)))
            ax.plot(scores, [row] * len(scores), "o", color="#1b6094", alpha=alpha, markeredgewidth=0)
        ends = [poles_of(name) for name in names]
        ax.set_yticks(range(len(names)), [f"{name}\n0: {low}" for name, (low, _) in zip(names, ends, strict=True)])
        right = ax.secondary_yaxis("right")
        right.set_yticks(range(len(names)), [f"1: {high}" for _, high in ends])
        right.tick_params(length=0)
        ax.set(xlim=(0, 1), ylim=(max(len(names), 1) - 0.5, -0.5))
        ax.set_xlabel("80% interval" if len(scored) == 1 else f"{len(scored):,} clips; bar: median")
        return ax

    def __repr__(self) -> str:
        lines = [f"{place:>5}  {entry!r}" for place, entry in enumerate(self.entries[:_NUM_SHOWN])]
        if len(self) > _NUM_SHOWN:
            lines.append(f"   ..  {len(self) - _NUM_SHOWN:,} more")
        failed = f", {len(self.failures):,} failed" if self.failures else ""
        return "\n".join([f"PredictionTable of {counted(len(self), 'clip')}{failed}", *lines])

    def _repr_html_(self) -> str:
        clips = [(prediction.clip, prediction.traits) for prediction in self.predictions]
        return table_html(clips, [(failure.clip, failure.error) for failure in self.failures])


def _median(values: Sequence[float]) -> float:
    middle = sorted(values)
    half = len(middle) // 2
    return middle[half] if len(middle) % 2 else (middle[half - 1] + middle[half]) / 2
