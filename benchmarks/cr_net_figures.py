"""The figures of CR-Net's paper from trained runs: errors against labels (figure 10), heat maps (figure 12), and the
share of face points inside the 30% highest activations (section 5.6), beside that of an untrained network.

python benchmarks/cr_net_figures.py RUN [WITHOUT_BELL_RUN] --out FOLDER

The test clips of the run's own manifest are looked at. Heat maps show the clips' people: of real clips they are
personal data, not for publishing. Points are found by the landmarker on the face pictures.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from thinslice.data.manifest import load_manifest
from thinslice.evaluate.predictions import read_predictions
from thinslice.explain.activation import activation_map, share_of_points_inside
from thinslice.features.face_detect import find_faces_in_image
from thinslice.features.store import open_reader
from thinslice.report.heatmaps import draw_errors, draw_heat_maps
from thinslice.systems.cr_net.network import CRNet, Stream
from thinslice.systems.cr_net.recipe import cr_net
from thinslice.train.data import StoredClip, random_state
from thinslice.train.documents import RunDocument
from thinslice.train.export import load_trained
from thinslice.train.recipe import Arrays, Recipe
from thinslice.train.run import RunFolder
from thinslice.train.system import build_seeded
from thinslice.traits import TRAITS

NUM_SHOWN = 6


def test_inputs(recipe: Recipe, document: RunDocument, split: str) -> Iterator[tuple[str, Arrays]]:
    """Yield the clips of a split as the test samples them."""
    origin = document.sessions[-1].origin
    table = load_manifest(Path(origin["manifest"]))
    clips = [(clip, table.path(i)) for i, clip in enumerate(table.clips)]
    reader, _ = open_reader(Path(origin["store"]), recipe.features, clips, table.transcripts)
    for clip, found in zip(table.clips, table.splits, strict=True):
        if found == split:
            yield clip, recipe.sample(StoredClip(clip, reader), "test", random_state(0, clip))


def heat_maps(network: CRNet, name: str, pictures: np.ndarray) -> list[np.ndarray]:
    """Return a map of each picture (n, height, width, 3); of a stream of stacked frames, n times the same."""
    stream = network.streams[name]
    assert isinstance(stream, Stream)
    with torch.no_grad():
        maps = stream.backbone.feature_maps(stream.prepare(torch.from_numpy(pictures)[None])).numpy()
    heats = [activation_map(one, *pictures.shape[1:3]) for one in maps]
    return heats if len(heats) == len(pictures) else heats * len(pictures)


def draw_figure_10(runs: dict[str, RunFolder], out: Path) -> None:
    """Draw all traits' errors of the test clips, and print the mean error of extreme labels."""
    table = load_manifest(Path(next(iter(runs.values())).load().sessions[-1].origin["manifest"]))
    places = {clip: i for i, clip in enumerate(table.clips)}
    truth, predictions = np.empty(0), {}
    for name, run in runs.items():
        read = read_predictions(run.predictions("test"))
        truth = table.labels(TRAITS)[[places[clip] for clip in read.clips]].ravel()
        predictions[name] = read.scores[:, : len(TRAITS)].ravel()
        extreme = np.abs(truth - truth.mean()) > 1.5 * truth.std()
        errors = np.abs(predictions[name] - truth)
        print(f"{name}: error {errors.mean():.4f}, of labels 1.5 deviations from the mean {errors[extreme].mean():.4f}")
    draw_errors(truth, predictions, out / "figure10.svg")


def main(runs: list[Path], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    named = dict(zip(("with the Bell loss", "without the Bell loss"), map(RunFolder, runs), strict=False))
    draw_figure_10(named, out)
    run = next(iter(named.values()))
    document = run.load()
    recipe = cr_net(**document.arguments)
    trained, fresh = load_trained(recipe, run), build_seeded(recipe, document.seed).eval()
    assert isinstance(trained, CRNet)
    assert isinstance(fresh, CRNet)
    shown: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"scene": [], "face": []}
    heats: dict[str, list[np.ndarray]] = {"trained": [], "untrained": [], "without a network": []}
    points, num_pictures = [], 0
    for _, inputs in test_inputs(recipe, document, "test"):
        for name, feature in (("scene", "frames"), ("face", "faces")):
            if name in trained.streams and len(shown[name]) < NUM_SHOWN:
                pictures = inputs[feature].reshape(-1, *inputs[feature].shape[-3:])
                shown[name].append((pictures[0], heat_maps(trained, name, pictures)[0]))
        if "face" in trained.streams:
            pictures = inputs["faces"][:, 0]
            num_pictures += len(pictures)
            maps = [heat_maps(network, "face", pictures) for network in (trained, fresh)]
            for picture, *pair in zip(pictures, *maps, strict=True):
                found = find_faces_in_image(picture)
                if found:
                    points.append(found[0].landmarks)
                    middle = np.abs(np.linspace(-1, 1, len(picture)))
                    for kept, heat in zip(heats.values(), (*pair, -np.maximum(middle[:, None], middle)), strict=True):
                        kept.append(heat)
    for name, pairs in shown.items():
        if pairs:
            draw_heat_maps([picture for picture, _ in pairs], [heat for _, heat in pairs], out / f"figure12_{name}.png")
    if points:
        print(f"points found in {len(points):,} of {num_pictures:,} face pictures")
        for name, maps in heats.items():
            note = " (the middle of the picture)" if name == "without a network" else ""
            print(
                f"{name}{note}: {share_of_points_inside(maps, points):.2%} of them in the 30% highest; published 73.96%"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    main(arguments.runs, arguments.out)
