"""The scorecard as figures for a paper: accuracy against R² beside the baselines, and labels against predictions.

matplotlib is imported when a figure is drawn, and only its Agg and SVG writers, so no screen is needed.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from thinslice.errors import counted
from thinslice.evaluate.card import Scorecard, Scores
from thinslice.evaluate.protocols import OFFICIAL, PROTOCOLS, SEEN, UNSEEN
from thinslice.evaluate.scorecard import LOOKUP, TRAINING_MEAN, Scored
from thinslice.evaluate.tables import PROTOCOL_NAMES, over
from thinslice.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _GREY, _PALE = "#1b1f24", "#6e7781", "#d0d7de"
# Okabe and Ito's colours, told apart by colour-blind readers too.
_COLOURS: Final = {"predictions": "#0072b2", "other": "#d55e00", LOOKUP: "#e69f00", TRAINING_MEAN: "#6e7781"}
_MARKERS: Final = {OFFICIAL: "o", SEEN: "^", UNSEEN: "v"}
STYLE: Final[Any] = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.edgecolor": _GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "thinslice",
}


def plot_accuracy_r2(card: Scorecard) -> "Figure":
    """Draw average accuracy against average R² of the predictions and the baselines, with 95% intervals.

    Each system has up to three points: all clips, seen and unseen speakers. Systems far right and low are
    those whose accuracy comes from staying near the mean.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    systems = {"predictions": card.protocols, **card.baselines}
    labels = {"predictions": _short(card.settings.predictions), LOOKUP: "lookup", TRAINING_MEAN: "training mean"}
    if card.comparison:
        systems["other"] = card.comparison.protocols
        labels["other"] = _short(card.comparison.predictions)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.4), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(color=_PALE, linewidth=0.4)
        axes.set_axisbelow(True)
        drawn: set[str] = set()
        for system, panels in systems.items():
            path = []
            for protocol in PROTOCOLS:
                panel = panels[protocol]
                if panel is None or panel["accuracy"]["average"] is None or panel["r2"]["average"] is None:
                    continue
                x, y = panel["accuracy"]["average"], panel["r2"]["average"]
                drawn.add(protocol)
                if protocol != OFFICIAL:
                    path.append((x, y))
                axes.errorbar(
                    x, y,
                    xerr=_error(panel, "accuracy"), yerr=_error(panel, "r2"),
                    marker=_MARKERS[protocol], markersize=6.5 if protocol == OFFICIAL else 5.5, linestyle="none",
                    color=_COLOURS[system], markerfacecolor=_COLOURS[system] if protocol == OFFICIAL else "white",
                    markeredgewidth=1.1, elinewidth=0.8, capsize=0, zorder=3,
                )  # fmt: skip
            if len(path) == 2:
                axes.plot(*zip(*path, strict=True), color=_COLOURS[system], linewidth=0.8, linestyle=":", zorder=2)
        axes.axhline(0, color=_GREY, linewidth=0.6)
        if card.ceiling and (top := card.ceiling.accuracy["average"]) is not None:
            known = (top, card.ceiling.r2["average"] or 0.0)
            axes.plot(*known, marker="*", markersize=9, color=_INK, linestyle="none", zorder=3)
            axes.annotate(
                "every speaker known",
                known,
                xytext=(-7, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=7.5,
            )
        average = f"average of {over(card)}"
        axes.set_xlabel(f"accuracy (1 − mean absolute error), {average}")
        axes.set_ylabel(f"R², {average}")
        axes.margins(0.08)
        entries = [
            Line2D([], [], marker="s", linestyle="none", color=_COLOURS[name], label=labels[name])
            for name, panels in systems.items()
            if panels[OFFICIAL] is not None
        ]
        entries += [
            Line2D([], [], marker=_MARKERS[protocol], linestyle="none", color=_INK,
                   markerfacecolor=_INK if protocol == OFFICIAL else "white", label=_protocol_label(card, protocol))
            for protocol in PROTOCOLS
            if protocol in drawn
        ]  # fmt: skip
        axes.legend(handles=entries, loc="upper left", handletextpad=0.3, borderaxespad=0.2)
    return figure


def plot_scatter(scored: Scored, card: Scorecard) -> "Figure":
    """Draw labels against predictions for each trait, with the identity and the calibration line.

    The calibration line is the regression of label on prediction: flatter than the identity where predictions
    are too bold, steeper where they are too timid.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    panel = card.official
    targets = [name for name in scored.targets if panel["accuracy"].get(name) is not None]
    columns = 3 if len(targets) > 2 else max(len(targets), 1)
    rows = -(-len(targets) // columns) if targets else 1
    identity: Any = {"color": _GREY, "linewidth": 0.8, "linestyle": (0, (4, 3))}
    calibration: Any = {"color": _COLOURS["other"], "linewidth": 1.5, "solid_capstyle": "round"}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.3 * columns + 0.3, 2.35 * rows + 0.6), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.08)  # type: ignore[union-attr, call-arg]
        for place, name in enumerate(targets):
            axes = figure.add_subplot(rows, columns, place + 1)
            k = scored.targets.index(name)
            known = np.isfinite(scored.labels[:, k] + scored.system.scores[:, k])
            x, y = scored.system.scores[known, k], scored.labels[known, k]
            # Thousands of points as one bitmap keep the SVG small; lines and words stay vectors.
            alpha = float(np.clip(250 / max(len(x), 1), 0.08, 0.6))
            axes.scatter(x, y, s=5, color=_COLOURS["predictions"], alpha=alpha, linewidths=0, rasterized=True)
            axes.axline((0, 0), (1, 1), **identity)
            slope = panel["calibration_slope"][name]
            if slope is not None:
                ends = np.percentile(x, [0.5, 99.5])
                line = y.mean() + slope * (ends - x.mean())
                axes.plot(ends, line, **calibration)
            low, high = card.poles[name]
            axes.set_title(name, loc="left", fontweight="bold", pad=4)
            axes.annotate(
                _numbers(panel, name), (0.03, 0.97), xycoords="axes fraction", va="top", fontsize=7, linespacing=1.35
            )
            edge = 0.02 + max(0.0, float(-x.min(initial=0.0)), float(x.max(initial=1.0) - 1.0))
            axes.set(xlim=(-edge, 1 + edge), ylim=(-0.02, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
            axes.set_aspect("equal")
            axes.set_xlabel(f"predicted ({low} – {high})", fontsize=7)
            if place % columns == 0:
                axes.set_ylabel("label")
        lines = [
            Line2D([], [], label="prediction = label", **identity),
            Line2D([], [], label="label on prediction (calibration slope)", **calibration),
        ]
        figure.legend(handles=lines, loc="outside lower center", ncol=2)
    return figure


def save_figure(figure: "Figure", stem: str | os.PathLike[str]) -> list[Path]:
    """Write a figure as stem.png (300 dots per inch) and stem.svg, without a date; return the files."""
    import matplotlib as mpl

    out = []
    with mpl.rc_context(STYLE):
        for suffix, options in ((".png", {"metadata": {"Software": None}}), (".svg", {"metadata": {"Date": None}})):
            path = Path(f"{os.fspath(stem)}{suffix}")
            with atomic_path(path) as part:
                figure.savefig(part, format=suffix[1:], dpi=300, **options)  # type: ignore[arg-type]
            out.append(path)
    return out


def _error(panel: Scores, metric: str) -> np.ndarray | None:
    interval, value = panel.interval(metric, "average"), panel[metric]["average"]
    if interval is None or value is None:
        return None
    return np.maximum(0.0, [[value - interval[0]], [interval[1] - value]])


def _protocol_label(card: Scorecard, protocol: str) -> str:
    panel = card.protocols[protocol]
    return f"{PROTOCOL_NAMES[protocol]} ({counted(panel.num_clips if panel else 0, 'clip')})"


def _numbers(panel: Scores, name: str) -> str:
    def shown(metric: str, decimals: int) -> str:
        value = panel[metric][name]
        return "–" if value is None else f"{value:.{decimals}f}"

    lines = [f"accuracy {shown('accuracy', 4)}", f"R² {shown('r2', 3)}", f"slope {shown('calibration_slope', 2)}"]
    return "\n".join(lines)


def _short(source: str) -> str:
    name = Path(source).name
    return name if len(name) <= 28 else name[:25] + "..."
