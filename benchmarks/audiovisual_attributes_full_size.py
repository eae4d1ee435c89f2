"""audiovisual_attributes with all inputs at full size on real clips: extraction, two steps a stage, a bundle, predict.

python benchmarks/audiovisual_attributes_full_size.py FIRST_IMPRESSIONS_V2/clips [NUM_CLIPS]

The last clip is the test split. Prints seconds and peak memory; each part runs in a process of its own, so that its
peak is its own. Labels are made up and VGG-Face's weights are fresh: nothing is said about accuracy.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

NUM_STEPS = 2


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def learn(clips: list[Path], folder: Path) -> None:
    from thinslice.data.manifest import Manifest, load_manifest, save_manifest
    from thinslice.systems.audiovisual_attributes.recipe import audiovisual_attributes
    from thinslice.train.inputs import load_run_data
    from thinslice.train.loop import train
    from thinslice.train.settings import LoopSettings
    from thinslice.traits import TRAITS

    labels = np.random.default_rng(0).uniform(0.2, 0.8, (len(clips), len(TRAITS))).round(4).astype(str)
    names = tuple(clip.name for clip in clips)
    paths, speakers = tuple(map(str, clips)), tuple(name.rsplit(".", 2)[0] for name in names)
    columns = {trait: tuple(labels[:, k]) for k, trait in enumerate(TRAITS)}
    splits = ("train",) * (len(names) - 1) + ("test",)
    save_manifest(Manifest(names, paths, splits, speakers, columns), folder / "manifest.csv")
    recipe = audiovisual_attributes("fresh", batch_size=len(clips) - 1)
    began = time.perf_counter()
    data, _ = load_run_data(recipe, folder / "manifest.csv", folder / "store")
    seconds = time.perf_counter() - began
    print(f"extraction of {len(load_manifest(folder / 'manifest.csv'))} clips: {seconds:.1f} s, {peak_gb():.1f} GB")
    train(recipe, data, folder / "run", LoopSettings(device="cpu", tensorboard=False, max_steps=NUM_STEPS))
    for line in (folder / "run" / "history.csv").read_text().splitlines():
        print(line)
    print(f"{NUM_STEPS} steps of each stage on {len(clips) - 1} clips: peak {peak_gb():.1f} GB")


def export(folder: Path) -> None:
    from thinslice.systems import RECIPES
    from thinslice.train.export import export_run
    from thinslice.train.inputs import load_samples
    from thinslice.train.run import RunFolder

    run = RunFolder(folder / "run")
    document = run.load()
    recipe = RECIPES["audiovisual_attributes"](**document.arguments)
    began = time.perf_counter()
    exported = export_run(recipe, run, folder / "bundle", load_samples(recipe, document, None, None, 2))
    size = (exported.folder / "model.onnx").stat().st_size / 2**20
    print(
        f"bundle: {time.perf_counter() - began:.0f} s, {size:.0f} MiB, peak {peak_gb():.1f} GB, "
        f"scores differ by {exported.largest_difference:.1e} on {exported.num_compared} clips"
    )


def predict(clip: Path, folder: Path) -> None:
    from thinslice.infer.predictor import Predictor

    began = time.perf_counter()
    predictor = Predictor(folder / "bundle")
    loaded = time.perf_counter()
    for _ in range(2):
        result = predictor.predict(clip)
    assert "torch" not in sys.modules
    print(f"predict: loading {loaded - began:.1f} s, a clip {json.dumps(result.to_dict()['seconds'])}")
    print(f"  used {result.used}, no torch, peak {peak_gb():.1f} GB")


def main(folder: Path, count: int) -> None:
    clips = sorted(folder.absolute().glob("*.mp4"))[:count]
    with tempfile.TemporaryDirectory() as temporary:
        for part in ("learn", "export", "predict"):
            command = [sys.executable, __file__, part, temporary, *map(str, clips)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    if sys.argv[1] == "learn":
        learn([Path(clip) for clip in sys.argv[3:]], Path(sys.argv[2]))
    elif sys.argv[1] == "export":
        export(Path(sys.argv[2]))
    elif sys.argv[1] == "predict":
        predict(Path(sys.argv[3]), Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
