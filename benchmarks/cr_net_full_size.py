"""CR-Net at full size on a few real clips: extraction, a step of both stages, trees, export, a prediction.

python benchmarks/cr_net_full_size.py THINSLICE_DATA/first_impressions_v2/clips [NUM_CLIPS]

Prints seconds and peak memory. Labels are made up; nothing is said about accuracy. Each clip needs its transcript
beside it or the asr extra.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from thinslice.features import extract
from thinslice.media.source import Source
from thinslice.recipes.cr_net import cr_net
from thinslice.recipes.cr_net_export import export_cr_net
from thinslice.train.data import ArrayReader, ClipData, random_state
from thinslice.train.loop import RunData, Settings, train
from thinslice.traits import TARGETS

EXTRACTORS = {
    "text_embedding": "thinslice.features.text_embedding:extract_text_embedding",
    "text_vector": "thinslice.features.text_embedding:extract_text_vector",
}
TORCHLESS = """
import json, sys, time
import numpy as np
from thinslice.infer.onnx_model import OnnxModel
began = time.perf_counter()
model = OnnxModel(__import__("pathlib").Path(sys.argv[1]))
loaded = time.perf_counter()
scores = model.predict(dict(np.load(sys.argv[2])))
assert "torch" not in sys.modules
print(json.dumps([loaded - began, time.perf_counter() - loaded, scores.round(4).tolist()]))
"""


def main(folder: Path, count: int, device: str) -> None:
    for name, place in EXTRACTORS.items():
        extract.EXTRACTORS.setdefault(name, place)
    recipe = cr_net("all", batch_size=count, epochs=1, num_trees=1000)
    arrays = {}
    for path in sorted(folder.glob("*.mp4"))[:count]:
        arrays[path.name], seconds = extract.extract_features(Source(path), recipe.features)
        print(path.name, {name: round(value, 2) for name, value in seconds.items()}, flush=True)
    print({name: array.shape for name, array in arrays[path.name].items()})
    labels = np.random.default_rng(0).uniform(0.2, 0.8, (len(arrays), len(TARGETS)))
    clips = ClipData(tuple(arrays), labels, TARGETS, ArrayReader(arrays))
    with tempfile.TemporaryDirectory() as temporary:
        run = train(
            recipe,
            RunData(splits={"train": clips}),
            Path(temporary) / "run",
            Settings(device=device, tensorboard=False, max_steps=1),
        )
        for row in (run.path / "history.csv").read_text().splitlines():
            print(row)
        if device != "cpu":
            print(f"peak on the GPU {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
        sample = recipe.sample(clips.reader(0), "test", random_state(0))
        began = time.perf_counter()
        exported = export_cr_net(recipe, run, Path(temporary) / "bundle", [sample])
        size = (exported.folder / "model.onnx").stat().st_size
        seconds = time.perf_counter() - began
        print(f"exported in {seconds:.0f} s, {size / 2**20:.0f} MiB, differs by {exported.largest_difference:.1e}")
        np.savez(Path(temporary) / "sample.npz", **sample)
        arguments = [sys.executable, "-c", TORCHLESS, str(exported.folder), str(Path(temporary) / "sample.npz")]
        print("loading s, scoring s, scores:", subprocess.check_output(arguments, text=True).strip())
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4, "cuda" if torch.cuda.is_available() else "cpu"
    )
