"""What one training sample costs its reading process, for every system at its full size.

    python benchmarks/reading.py [--decoded] [--samples 100] [RECIPE ...]

Processor time of one core, files in the page cache, from a real feature store. Pictures are smooth noise of each
recipe's own sizes. "Sample" is what `Stage.sample` takes, "batch" adds what stacking a batch takes, for each clip.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from thinslice.systems import RECIPES, build_recipe
from thinslice.train.benchmark.plausible import build_plausible_data
from thinslice.train.data import ClipData, Sampled, collate, sample_clip
from thinslice.train.decoded import plan_copy
from thinslice.train.recipe import Stage

FRESH = {"persemon": "fresh", "audiovisual_attributes": "fresh"}


def measure(source: Sampled, count: int) -> tuple[float, float, int]:
    """Return ms a sample, ms a sample in batches of 8, and bytes a sample."""

    def one(index: int) -> dict[str, np.ndarray]:
        return sample_clip(source.data, index % len(source.data), source.sample, "train", 0, "x", index)

    samples = [one(index) for index in range(8)]
    began = time.process_time()
    for index in range(count):
        one(index)
    alone = time.process_time() - began
    began = time.process_time()
    for _ in range(count // 8):
        collate(samples, source.ragged)
    stacking = (time.process_time() - began) / (count // 8 * 8)
    return 1e3 * alone / count, 1e3 * (alone / count + stacking), sum(a.nbytes for a in samples[0].values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", default=list(RECIPES))
    parser.add_argument("--decoded", action="store_true", help="From a decoded copy.")
    parser.add_argument("--samples", type=int, default=100)
    given = parser.parse_args()
    print(f"{'recipe':24}{'stage':16}{'sample, ms':>12}{'batch, ms':>12}{'kB':>8}")
    for name in given.recipes:
        recipe = build_recipe(name, FRESH.get(name))
        with tempfile.TemporaryDirectory() as folder:
            data = build_plausible_data(recipe, Path(folder) / "store", 16)
            if given.decoded:
                data, copying = plan_copy(data, Path(folder) / "copy")
                list(copying.do())
            clips = data.splits["train"]
            rows: dict[str, Sampled] = {}
            for stage in recipe.stages:
                if isinstance(stage, Stage) and stage.precompute is None:
                    own: ClipData = clips.only(stage.features)
                    rows[stage.name] = Sampled(own, stage.sample or recipe.sample, recipe.ragged)
            rows["(recipe)"] = Sampled(clips, recipe.sample, recipe.ragged)
            rows |= {f"({n})": Sampled(data.companions[n], recipe.companions[n].sample) for n in data.companions}
            for stage_name, source in rows.items():
                alone, batched, size = measure(source, given.samples)
                print(f"{name:24}{stage_name:16}{alone:12.2f}{batched:12.2f}{size / 1e3:8.0f}", flush=True)


if __name__ == "__main__":
    main()
