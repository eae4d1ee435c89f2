"""The plots of docs/groups.md."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from groups_study import MODELS, REMEDIES, Study, compare, gap_draws, mean_draws, mitigated, share_of, stacked
from thinslice.evaluate import bootstrap
from thinslice.evaluate.figures import STYLE, save_figure
from thinslice.traits import TRAITS


def draw_figures(study: Study, out: Path) -> None:
    """Write the plots of docs/groups.md to OUT."""
    for name, plot in (("groups_said", plot_said), ("groups_gain", plot_gain), ("groups_remedies", plot_remedies)):
        print(", ".join(str(path) for path in save_figure(plot(study), out / name)))


COLOURS = {"annotators": "#1b1f24", "voice": "#0072b2", "words": "#e69f00", "voice+words": "#d55e00"}
SHOWN = ("age", "gender", "valence", "arousal", "likeability")


def plot_said(study: Study) -> Figure:
    """Draw women less men in labels and predictions, and the share of both that each attribute explains."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        rows, groups = study.known("gender"), study.attributes["gender"]
        sources = {"annotators": study.labels, **{mode: study.scores[mode] for mode in MODELS}}
        for i, (who, values) in enumerate(sources.items()):
            _, draws = mean_draws(study, values, rows, groups)
            women_less_men = draws.map(lambda means: means[..., 0, :] - means[..., 1, :])
            low, high = bootstrap.interval(women_less_men)
            error = np.stack([women_less_men.point - low, high - women_less_men.point])[:, : len(TRAITS)]
            place = np.arange(len(TRAITS)) + (i - 1.5) * 0.16
            left.errorbar(
                place,
                women_less_men.point[: len(TRAITS)],
                error,
                fmt="o",
                markersize=4,
                elinewidth=1,
                color=COLOURS[who],
                label=who,
            )
        left.axhline(0, color="#6e7781", linewidth=0.6)
        left.set_xticks(np.arange(len(TRAITS)), [trait[:5] + "." for trait in TRAITS])
        left.set_ylabel("mean score, women less men")
        left.legend()
        for i, who in enumerate(("annotators", *MODELS)):
            values = []
            for attribute in SHOWN:
                found = share_of(study, attribute, MODELS[0] if who == "annotators" else who, study.known(attribute))
                name = "labels_on_group" if who == "annotators" else "predictions_on_group"
                low, high = found.ci95[name]["average"]
                values.append((found[name]["average"], low, high))
            point, low, high = np.array(values).T
            place = np.arange(len(SHOWN)) + (i - 1.5) * 0.2
            right.bar(place, point, 0.18, yerr=[point - low, high - point], error_kw={"elinewidth": 0.8},
                      color=COLOURS[who], label=who)  # fmt: skip
        right.set_xticks(np.arange(len(SHOWN)), SHOWN)
        right.set_ylabel("share of variance explained")
    return figure


def plot_gain(study: Study) -> Figure:
    """Draw R² of each attribute alone, of voice+words alone, and of both, all on new speakers."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.0), layout="constrained")
        axes = figure.add_subplot()
        kinds = (("attribute alone", True, None), ("voice+words", False, "voice+words"), ("both", True, "voice+words"))
        for i, (label, grouped, mode) in enumerate(kinds):
            values = []
            for attribute in SHOWN:
                rows = study.known(attribute)
                groups = study.attributes[attribute] if grouped else study.everybody
                panel, _, _ = compare(study, rows, *[stacked(study, rows, groups, mode)] * 2)
                values.append((panel["r2"]["average"], *panel.ci95["r2"]["average"]))
            point, low, high = np.array(values).T
            axes.bar(np.arange(len(SHOWN)) + (i - 1) * 0.26, point, 0.24, yerr=[point - low, high - point],
                     error_kw={"elinewidth": 0.8}, color=("#6e7781", "#d55e00", "#0072b2")[i], label=label)  # fmt: skip
        counts = [f"{name}\n({len(study.known(name)):,} clips)" for name in SHOWN]
        axes.set_xticks(np.arange(len(SHOWN)), counts)
        axes.set_ylabel("R² on speakers not met, mean of five traits")
        axes.legend()
    return figure


def plot_remedies(study: Study) -> Figure:
    """Draw what each remedy makes of voice+words' accuracy and of its gap in bias."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 2.9), layout="constrained")
        for axes, attribute in zip(figure.subplots(1, 2), ("age", "gender"), strict=True):
            rows, groups = study.known(attribute), study.attributes[attribute]
            systems = mitigated(study, "voice+words", attribute, rows)
            for name, scores in systems.items():
                _, _, difference = compare(study, rows, scores, systems["as it is"])
                entry = difference["accuracy"]["average"]
                gap, luck = gap_draws(study, scores, rows, groups, True)
                low, high = bootstrap.interval(gap, corrected=False)
                x = entry.difference
                axes.errorbar(
                    x,
                    gap.point,
                    xerr=[[x - entry.ci95[0]], [entry.ci95[1] - x]],
                    yerr=[[gap.point - low], [high - gap.point]],
                    fmt="o",
                    markersize=5,
                    elinewidth=0.8,
                    color=REMEDIES[name],
                    label=name,
                )
            axes.axhspan(0, luck, color="#d0d7de", alpha=0.5, linewidth=0)
            axes.axvline(0, color="#6e7781", linewidth=0.6)
            axes.locator_params(axis="x", nbins=4)
            axes.set(title=f"by {attribute}", xlabel="accuracy gained", ylim=(0, None))
        figure.axes[0].set_ylabel("gap in bias between groups")
        figure.axes[0].legend()
    return figure
