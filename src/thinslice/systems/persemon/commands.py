"""``thinslice emotion``, what a trained PersEmoN says of valence and arousal; ``thinslice import sphereface``."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from thinslice.files import write_atomically
from thinslice.output import make_folder, print_json, say, warn

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  thinslice emotion runs/persemon talk.mp4 --out emotion/
  thinslice emotion runs/persemon --pictures emotion.csv --clips fi.csv --store features/ --out emotion/
"""
)
@click.argument("run", metavar="RUN", type=_PATH)
@click.argument("media", metavar="[CLIP]...", nargs=-1, type=_PATH)
@click.option("--out", required=True, type=_PATH, metavar="DIR", help="Folder of tables and figures.")
@click.option("--frames", "num_frames", type=click.IntRange(1), default=60, show_default=True, help="Of each CLIP.")
@click.option("--pictures", type=_PATH, metavar="MANIFEST", help="Score the emotion of this data set, by split.")
@click.option("--clips", type=_PATH, metavar="MANIFEST", help="With --pictures: can the two data sets be told apart?")
@click.option("--store", type=_PATH, metavar="DIR", help="Where the faces of the manifests are.")
@click.option(
    "--points",
    type=click.IntRange(10),
    default=1000,
    show_default=True,
    help="With --clips: faces of each data set at most, drawn at random.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def emotion(
    run: Path,
    media: tuple[Path, ...],
    out: Path,
    num_frames: int,
    pictures: Path | None,
    clips: Path | None,
    store: Path | None,
    points: int,
    device: str,
    as_json: bool,
) -> None:
    """Write valence and arousal of each frame of CLIPs, with a timeline; and what RUN learned of emotion.

    DIR gets CLIP_emotion.csv and CLIP_timeline.png, disks.png (each trait over the arousal-valence disk), and with
    --pictures the error on each split of an emotion data set; with --clips too, how well a fresh classifier tells the
    two data sets apart by the network's features of held-out faces (test clips and pictures, or else validation), and a
    map of these. Exits with 1 if a CLIP could not be read.
    """
    from thinslice.errors import MissingExtraError

    try:
        import lightning  # noqa: F401
    except ImportError:
        raise MissingExtraError("emotion", "train") from None
    from thinslice.errors import MediaError, UsageError
    from thinslice.systems.persemon.emotion import load_system, relationship_of
    from thinslice.systems.persemon.figures import draw_disks

    if pictures is not None and store is None:
        raise click.UsageError("--pictures needs --store DIR, where the faces are")
    if clips is not None and pictures is None:
        raise click.UsageError("--clips goes with --pictures")
    system = load_system(run, device)
    make_folder(out)
    document: dict[str, Any] = {"run": str(run), "variant": system.recipe.variant, "clips": []}
    failed = False
    for path in media:
        try:
            document["clips"].append(_of_clip(system, path, num_frames, out))
        except (MediaError, UsageError) as error:
            failed = True
            document["clips"].append({"clip": str(path), "error": str(error)})
            warn(f"failed: {error}")
    seen = None
    if pictures is not None and store is not None:
        seen = _of_pictures(system, pictures, store, document)
        if clips is not None:
            _tell_apart(system, pictures, clips, store, points, out, document)
    if system.has_relationship:
        draw_disks(relationship_of(system), system.recipe.outputs, out / "disks.png", seen)
    write_atomically(out / "emotion.json", f"{json.dumps(document, indent=1, ensure_ascii=False)}\n".encode())
    if as_json:
        print_json(document)
    else:
        _print(document)
        say(f"wrote {out}")
    sys.exit(1 if failed else 0)


def _of_clip(system: Any, path: Path, num_frames: int, out: Path) -> dict[str, Any]:
    """Write a clip's table and timeline; return its means."""
    from thinslice.data.table import format_table
    from thinslice.systems.persemon.emotion import emotion_of_clip
    from thinslice.systems.persemon.figures import draw_timeline

    found = emotion_of_clip(system, path, num_frames)
    rows = [(f"{time:.3f}", f"{v:.4f}", f"{a:.4f}") for time, (v, a) in zip(found.times_s, found.emotions, strict=True)]
    table = out / f"{path.stem}_emotion.csv"
    write_atomically(table, format_table(("time_s", "valence", "arousal"), rows).encode())
    figure = draw_timeline(found.times_s, found.emotions, out / f"{path.stem}_timeline.png", path.name)
    valence, arousal = found.emotions.mean(0).tolist()
    means = {"valence": valence, "arousal": arousal, "frames": len(rows)}
    return {"clip": str(path), **means, "table": table.name, "figure": figure.name, "warnings": found.warnings}


def _of_pictures(system: Any, pictures: Path, store: Path, document: dict[str, Any]) -> Any:
    """Add scores on each split of an emotion data set; return all emotions told."""
    import numpy as np

    from thinslice.data.manifest import load_manifest
    from thinslice.systems.persemon.emotion import emotions_of, features_of_pictures, open_pictures, score_emotions

    table = load_manifest(pictures)
    split_of = dict(zip(table.clips, table.splits, strict=True))
    data = open_pictures(system, table, store)
    told = emotions_of(system, features_of_pictures(system, data))
    splits = np.array([split_of[clip] for clip in data.clips])
    document["pictures"] = {
        split: {"num_pictures": int((splits == split).sum())}
        | score_emotions(data.labels[splits == split], told[splits == split])
        for split in dict.fromkeys(splits.tolist())
    }
    return told


def _tell_apart(
    system: Any, pictures: Path, clips: Path, store: Path, points: int, out: Path, document: dict[str, Any]
) -> None:
    """Draw figure 4 and add how well faces of either data set, not learned from, can be told from the other's."""
    from dataclasses import asdict

    import numpy as np

    from thinslice.data.manifest import load_manifest
    from thinslice.systems.persemon.emotion import (
        features_of_clips,
        features_of_pictures,
        held_out_split,
        open_pictures,
    )
    from thinslice.systems.persemon.figures import draw_domains, tell_apart
    from thinslice.train.inputs import load_run_data

    rng = np.random.default_rng(0)
    of_run, _ = load_run_data(system.recipe, clips, store, extract_missing=False)
    names, others = load_manifest(clips), load_manifest(pictures)
    split, other = held_out_split(of_run.splits, clips), held_out_split(set(others.splits), pictures)
    data, shown = of_run.splits[split], open_pictures(system, others.select(other), store)
    num_parts = data.reader(0).shape("faces")[1]
    chosen = np.sort(rng.permutation(len(data))[: max(points // num_parts, 1)])
    some = np.sort(rng.permutation(len(shown))[:points])
    first = features_of_clips(system, data, chosen.tolist())
    second = features_of_pictures(system, shown, some.tolist())
    speaker = dict(zip(names.clips, names.speakers, strict=True))
    person = dict(zip(others.clips, others.speakers, strict=True))
    groups = (
        [speaker[data.clips[i]] for i in chosen for _ in range(first.shape[1])],
        [person[shown.clips[i]] for i in some],
    )
    flat = first.reshape(-1, first.shape[2])
    apart = tell_apart(flat, second, groups)
    document["told_apart"] = {"split": split, "split_of_pictures": other, **asdict(apart)}
    title = f"{system.recipe.variant}: told apart {apart.neighbours:.0%}"
    draw_domains({title: (flat, second)}, out / "domains.png", ("personality clips", "emotion pictures"))


def _print(document: dict[str, Any]) -> None:
    for entry in document["clips"]:
        if "error" not in entry:
            means = f"valence {entry['valence']:+.3f}, arousal {entry['arousal']:+.3f}"
            click.echo(f"{entry['clip']}: {means}, mean of {entry['frames']} frames")
            for warning in entry["warnings"]:
                warn(f"warning: {warning}")
    for split, scores in document.get("pictures", {}).items():
        parts = [
            f"{name} MSE {scores['mse'][name]:.4f}, CCC {scores['ccc'][name]:.3f}" for name in ("valence", "arousal")
        ]
        click.echo(f"{split}, {scores['num_pictures']:,} pictures: {'; '.join(parts)}")
    if "told_apart" in document:
        apart = document["told_apart"]
        click.echo(
            f"data sets told apart by the features of {apart['num_told']:,} faces of split {apart['split']}: by the "
            f"nearest {apart['neighbours']:.1%}, by a fresh linear classifier {apart['linear']:.1%} (chance 50%)"
        )


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
def sphereface(file: Path) -> None:
    """Check the public weights of SphereFace-20 and keep them for `thinslice train persemon`.

    FILE is the authors' sphereface_model.caffemodel (github.com/wy1iu/sphereface), or a PyTorch state dict with the
    same layer names, such as sphere20a_20171020.pth. It is read as numbers, no code in it is run, and every layer's
    name and shape is checked. This makes no bundle: it is where a training starts.

    \b
    Example:
      thinslice import sphereface sphereface_model.caffemodel
      thinslice train persemon --data fi.csv --companion emotion=emotion.csv --store features/ --out runs/persemon
    """
    from thinslice.errors import MissingExtraError

    try:
        import lightning  # noqa: F401
    except ImportError:
        raise MissingExtraError("import sphereface", "train") from None
    from thinslice.systems.persemon.weights import import_sphereface

    say(f"wrote {import_sphereface(file)}")
