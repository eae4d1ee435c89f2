"""What planting costs, and what simple probes of each input reach on unseen speakers. Needs the extras train and video.

    python benchmarks/planted.py FOLDER --clips 400 --speakers 100 --seed 1

SYNTHETIC data: the figures show that the causes can be learnt, and say nothing about people.
"""

import argparse
import os
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from planted_probes import landmarked_share, official_parts, probe_features, probe_table
from thinslice.data.planted.causes import BEST_R2
from thinslice.data.planted.corpus import plant
from thinslice.traits import TRAITS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="New folder; or of an earlier call with the same numbers.")
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--speakers", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    began = time.perf_counter()
    manifest = plant(options.folder, options.clips, options.speakers, options.seed, workers=options.workers)
    wall = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    size = sum(path.stat().st_size for path in options.folder.glob("t*/*.mp4")) / 1e6
    print(f"{wall:.0f} s, {used.ru_utime + used.ru_stime:.0f} processor seconds, {size:.0f} MB in train and test")
    share = landmarked_share([manifest.path(i) for i in range(0, len(manifest), 4)])
    print(f"the landmarker finds one face in {share:.1%} of every fourth clip's middle frames\n")
    table = probe_table(manifest, probe_features(manifest), official_parts(manifest))
    print(f"R² on the test split (unseen speakers); {BEST_R2} is possible from the right input\n")
    print("| probe | " + " | ".join(TRAITS) + " |")
    print("|---|" + "---|" * len(TRAITS))
    for name, row in table.items():
        print(f"| {name} | " + " | ".join(f"{row[trait]:.2f}" for trait in TRAITS) + " |")


if __name__ == "__main__":
    main()
