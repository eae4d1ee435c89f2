"""Repeats the figures of docs/groups.md: do age, gender and mood help, how much of a prediction they are, and for whom.

    python benchmarks/groups.py DATA predict OUT        5 to 10 minutes of one core; goes on where it was stopped
    python benchmarks/groups.py DATA attributes OUT     what age, gender and mood score alone
    python benchmarks/groups.py DATA shares OUT         how much of labels and predictions they are
    python benchmarks/groups.py DATA differences OUT    what annotators and models say of each group
    python benchmarks/groups.py DATA stacked OUT        whether they add to the models, and for whom
    python benchmarks/groups.py DATA mitigation OUT     what calibrating, reweighting and levelling cost and gain
    python benchmarks/groups.py DATA figures OUT        the plots

DATA is the folder of First Impressions V2's training split. `predict` writes the manifest ``fi.csv`` and prediction
files of the bundled model's learner to OUT, every clip predicted by models that have not met its speaker; the others
read them. Speakers are YouTube videos; they are the folds' and the intervals' units. Needs the extra ``train``.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from groups_figures import draw_figures
from groups_study import (
    MODELS,
    RESAMPLING,
    Study,
    compare,
    gap_draws,
    load_study,
    mean_draws,
    mitigated,
    predict,
    share_of,
    stacked,
)
from thinslice.evaluate import bootstrap
from thinslice.evaluate.attribute_share import SHARES
from thinslice.evaluate.groups import compare_groups, score_groups
from thinslice.evaluate.panel import System
from thinslice.traits import TARGETS


def print_attributes(study: Study) -> None:
    """What attributes score alone, beside the training mean, on the same clips."""
    print("| attribute | clips | speakers | accuracy, mean | accuracy, attribute | difference | R² |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    by_trait = []
    for name in study.attributes:
        rows = study.known(name)
        alone = stacked(study, rows, study.attributes[name], None)
        mean = stacked(study, rows, study.everybody, None)
        panel, base, difference = compare(study, rows, alone, mean)
        print(
            f"| {name} | {len(rows):,} | {panel.num_speakers:,} | {base['accuracy']['average']:.4f} "
            f"| {shown(panel, 'accuracy')} | {changed(difference['accuracy']['average'], 4)} | {shown(panel, 'r2')} |"
        )
        by_trait.append(f"| {name} | " + " | ".join(shown(panel, "r2", target) for target in TARGETS) + " |")
    print(f"\n| R² | {' | '.join(TARGETS)} |\n|---|{'--:|' * len(TARGETS)}")
    print("\n".join(by_trait))


def print_shares(study: Study) -> None:
    """How much of labels and of each model's predictions each attribute explains."""
    names = ("labels on it", "predictions on it", "model alone", "model given it", "it given the model")
    print(f"| attribute | model | {' | '.join(names)} |\n|---|---|{'--:|' * len(names)}")
    by_trait = []
    for attribute in study.attributes:
        rows = study.known(attribute)
        for mode in MODELS:
            found = share_of(study, attribute, mode, rows)
            cells = []
            for share in SHARES:
                luck = found.chance.get(share)
                cells.append(shown(found, share) + (f" ({luck['average']:.3f})" if luck else ""))
            print(f"| {attribute} | {mode} | {' | '.join(cells)} |")
            for share in ("labels_on_group", "predictions_on_group"):
                who = "labels" if share == "labels_on_group" else mode
                line = f"| {attribute} | {who} | " + " | ".join(shown(found, share, target) for target in TARGETS)
                by_trait.append(line + " |")
    print("(in brackets behind the interval: what a factor of so many groups has by luck)\n")
    print(f"| attribute | R² on it of | {' | '.join(TARGETS)} |\n|---|---|{'--:|' * len(TARGETS)}")
    print("\n".join(dict.fromkeys(by_trait)))


def print_differences(study: Study) -> None:
    """What annotators and models say of each group: mean score less everybody's, and accuracy, R² and bias."""
    for attribute in ("age", "gender", "valence", "arousal"):
        rows = study.known(attribute)
        groups = study.attributes[attribute]
        print(f"\n{attribute}: mean score of a group less that of all {len(rows):,} clips")
        print(f"| group | said by | {' | '.join(TARGETS)} |\n|---|---|{'--:|' * len(TARGETS)}")
        for who, values in {"annotators": study.labels, **{mode: study.scores[mode] for mode in MODELS}}.items():
            names, draws = mean_draws(study, values - values[rows].mean(axis=0), rows, groups)
            low, high = bootstrap.interval(draws)
            for g, name in enumerate(names):
                cells = [f"{draws.point[g, k]:+.3f} [{low[g, k]:+.3f}, {high[g, k]:+.3f}]" for k in range(len(TARGETS))]
                print(f"| {name} | {who} | {' | '.join(cells)} |")
        print(f"\n{attribute}: scores per group")
        print("| group | model | clips | speakers | accuracy | training mean | R² | bias |")
        print("|---|---|--:|--:|--:|--:|--:|--:|")
        mean = System(stacked(study, rows, study.everybody, None))
        for mode in MODELS:
            found = score_groups(
                study.labels[rows],
                System(study.scores[mode][rows]),
                {"mean": mean},
                study.speakers[rows].tolist(),
                groups[rows].tolist(),
                RESAMPLING,
            )
            for name, panel in found.groups.items():
                by_mean = panel.baselines["mean"]["accuracy"]["average"]
                print(
                    f"| {name} | {mode} | {panel.num_clips:,} | {panel.num_speakers:,} "
                    f"| {shown(panel, 'accuracy')} | {by_mean:.4f} | {shown(panel, 'r2')} | {shown(panel, 'bias')} |"
                )
            for metric, entries in found.gap.items():
                gap = entries["average"]
                print(
                    f"{mode}: gap in {metric} {gap.gap:.4f} [{gap.ci95[0]:.4f}, {gap.ci95[1]:.4f}], luck up "
                    f"to {gap.chance95:.4f}, p {gap.p:.3f} ({gap.highest} highest, {gap.lowest} lowest)"
                )


def print_stacked(study: Study) -> None:
    """Whether attributes add to each model, over the same model recalibrated without them; and for whom."""
    print("| model | attribute | clips | accuracy | R² | accuracy gained | R² gained |\n|---|---|--:|--:|--:|--:|--:|")
    whom, by_trait = [], []
    for attribute in study.attributes:
        rows = study.known(attribute)
        for mode in MODELS:
            without = stacked(study, rows, study.everybody, mode)
            added = stacked(study, rows, study.attributes[attribute], mode)
            panel, base, difference = compare(study, rows, added, without)
            gains = " | ".join(changed(difference[m]["average"], d) for m, d in (("accuracy", 4), ("r2", 3)))
            both = [
                f"{base[m]['average']:.{d}f} → {panel[m]['average']:.{d}f}" for m, d in (("accuracy", 4), ("r2", 3))
            ]
            print(f"| {mode} | {attribute} | {len(rows):,} | {' | '.join(both)} | {gains} |")
            cells = (changed(difference["r2"][target], 3) for target in TARGETS)
            by_trait.append(f"| {mode} | {attribute} | {' | '.join(cells)} |")
            if mode == "voice+words" and attribute in ("age", "gender", "valence", "arousal"):
                found = compare_groups(
                    study.labels[rows],
                    System(added),
                    System(without),
                    study.speakers[rows].tolist(),
                    study.attributes[attribute][rows].tolist(),
                    RESAMPLING,
                )
                for group, entry in found.groups.items():
                    cells = (changed(entry[m]["average"], d) for m, d in (("accuracy", 4), ("r2", 3), ("bias", 3)))
                    whom.append(f"| {attribute} {group} | {' | '.join(cells)} |")
    print(f"\n| R² gained | by | {' | '.join(TARGETS)} |\n|---|---|{'--:|' * len(TARGETS)}")
    print("\n".join(by_trait))
    print("\n| voice+words, for whom | accuracy gained | R² gained | bias moved |\n|---|--:|--:|--:|")
    print("\n".join(whom))


def print_mitigation(study: Study) -> None:
    """What each remedy costs in accuracy and changes in gaps, against the model as it is."""
    header = ("model", "by", "remedy", "accuracy", "accuracy gained", "R² gained", "R² gained, groups alike")
    header += ("gap in bias", "luck up to", "its change", "gap in mean score")
    print(f"| {' | '.join(header)} |\n|---|---|---|{'--:|' * 8}")
    whom = []
    for mode in MODELS:
        for attribute in ("age", "gender"):
            rows = study.known(attribute)
            groups = study.attributes[attribute]
            systems = mitigated(study, mode, attribute, rows)
            before = systems["as it is"]
            gaps = {name: gap_draws(study, scores, rows, groups, True)[0] for name, scores in systems.items()}
            for name, scores in systems.items():
                panel, _, difference = compare(study, rows, scores, before)
                spread, _ = gap_draws(study, scores, rows, groups, False)
                _, luck = gap_draws(study, scores, rows, groups, True)
                within = compare_groups(
                    study.labels[rows],
                    System(scores),
                    System(before),
                    study.speakers[rows].tolist(),
                    groups[rows].tolist(),
                    RESAMPLING,
                )
                cells = [changed(difference[m]["average"], d) for m, d in (("accuracy", 4), ("r2", 3))]
                cells.append(changed(within.balanced["r2"]["average"], 3))
                low, high = bootstrap.interval(gaps[name], corrected=False)
                cells += [f"{gaps[name].point:.3f} [{low:.3f}, {high:.3f}]", f"{luck:.3f}"]
                moved = gaps[name].minus(gaps["as it is"])
                low, high = bootstrap.interval(moved, corrected=False)
                cells.append(f"{moved.point:+.3f} [{low:+.3f}, {high:+.3f}]")
                cells.append(f"{spread.point:.3f}")
                if name == "as it is":
                    cells[0] = cells[1] = cells[2] = cells[5] = ""
                print(f"| {mode} | {attribute} | {name} | {shown(panel, 'accuracy')} | {' | '.join(cells)} |")
                if mode == "voice+words" and name != "as it is":
                    for group, entry in within.groups.items():
                        parts = (changed(entry[m]["average"], d) for m, d in (("accuracy", 4), ("r2", 3), ("bias", 3)))
                        whom.append(f"| {name} by {attribute} | {group} | {' | '.join(parts)} |")
    for attribute in ("age", "gender"):
        rows = study.known(attribute)
        theirs, _ = gap_draws(study, study.labels[rows], rows, study.attributes[attribute], False)
        print(f"gap in the annotators' mean score by {attribute}: {theirs.point:.3f}")
    print("\n| voice+words | group | accuracy gained | R² gained | bias moved |\n|---|---|--:|--:|--:|")
    print("\n".join(whom))


def shown(panel: Mapping, metric: str, target: str = "average") -> str:
    decimals = 4 if metric == "accuracy" else 3
    low, high = panel.ci95[metric][target]
    return f"{panel[metric][target]:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def changed(entry: Mapping, decimals: int) -> str:
    if entry.ci95 is None:
        return f"{entry.difference:+.{decimals}f}"
    low, high = entry.ci95
    return f"{entry.difference:+.{decimals}f} [{low:+.{decimals}f}, {high:+.{decimals}f}]"


PRINTED: Mapping[str, Callable[[Study], None]] = {
    "attributes": print_attributes,
    "shares": print_shares,
    "differences": print_differences,
    "stacked": print_stacked,
    "mitigation": print_mitigation,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("what", choices=["predict", *PRINTED, "figures"])
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    if given.what == "predict":
        predict(given.data, given.out)
    elif given.what == "figures":
        draw_figures(load_study(given.data, given.out), given.out)
    else:
        PRINTED[given.what](load_study(given.data, given.out))


if __name__ == "__main__":
    main()
