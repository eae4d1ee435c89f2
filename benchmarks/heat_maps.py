"""Whether the heat maps over faces mark what the scores come from: a deletion test on real portraits.

    python benchmarks/heat_maps.py DATA [--bundle face-voice-words] [--clips 40] [--out FILE.md]

DATA is the research data's folder, with ``portraits``. The fifth of a face that its map marks most, for one trait, is
deleted, and the change of that trait's score is set beside the change when the same shape is deleted elsewhere (the
mask moved by a random distance, wrapped around the edges), and when the fifth is deleted that an average of the other
faces' maps marks (what one would mark without looking). The map's own filling, a coarse blur, would favour the map: so
deleting is measured with that and with one flat colour, the picture's mean, as well.
"""

import argparse
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from thinslice.errors import MediaError
from thinslice.explain.face_heat import blurred, face_heat
from thinslice.features.face_portraits import extract_face_portraits
from thinslice.infer.predictor import Predictor
from thinslice.media.source import Source
from thinslice.traits import TRAITS

DELETED = 0.2
NUM_MOVED = 4


def load_faces(archive: Path, num_clips: int, seed: int) -> list[np.ndarray]:
    """Return one aligned face of each of some clips of different speakers."""
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(archive) as pack, tempfile.TemporaryDirectory() as folder:
        by_speaker = {name.split("/")[1].rsplit(".", 2)[0]: name for name in pack.namelist() if name.endswith("81.jpg")}
        names = [by_speaker[key] for key in rng.permutation(sorted(by_speaker))[:num_clips]]
        pack.extractall(folder, names)
        faces = []
        for name in names:
            with suppress(MediaError):  # No face is found in about one portrait of a hundred.
                faces.append(extract_face_portraits(Source(Path(folder) / name))[0])
        return faces


def marked(heat: np.ndarray) -> np.ndarray:
    """Return bool (rows, columns): the part of a picture with the most heat, whichever way it moved the score."""
    strength = np.abs(heat)
    order = np.argsort(-strength, axis=None, kind="stable")
    mask = np.zeros(strength.size, bool)
    mask[order[: round(DELETED * strength.size)]] = True
    return mask.reshape(strength.shape)


def deletion(
    score: Callable[[np.ndarray], np.ndarray], faces: list[np.ndarray], seed: int = 0
) -> dict[str, dict[str, np.ndarray]]:
    """Return filling -> what was deleted -> absolute changes (faces, traits)."""
    rng = np.random.default_rng(seed)
    heats = [face_heat(score, face) for face in faces]
    out: dict[str, dict[str, list[list[float]]]] = {}
    for number, face in enumerate(faces):
        whole = score(face[None])[0]
        others = np.mean([np.abs(heat) for k, heat in enumerate(heats) if k != number], axis=0)
        fillings = {"blur": blurred(face), "flat": np.broadcast_to(face.mean((0, 1)).astype(np.uint8), face.shape)}
        for filling, fill in fillings.items():
            rows = out.setdefault(filling, {})

            def change(mask: np.ndarray, trait: int, fill=fill, face=face, whole=whole) -> float:  # type: ignore[no-untyped-def]
                deleted = np.where(mask[..., None], fill, face).astype(np.uint8)
                return float(abs(score(deleted[None])[0][trait] - whole[trait]))

            changes: dict[str, list[float]] = {"marked": [], "elsewhere": [], "marked on other faces": []}
            for trait in range(len(TRAITS)):
                mask = marked(heats[number][..., trait])
                moves = rng.integers(40, 136, (NUM_MOVED, 2))
                changes["marked"].append(change(mask, trait))
                moved = [change(np.roll(mask, tuple(move), (0, 1)), trait) for move in moves]
                changes["elsewhere"].append(float(np.mean(moved)))
                changes["marked on other faces"].append(change(marked(others[..., trait]), trait))
            for name, values in changes.items():
                rows.setdefault(name, []).append(values)
    return {filling: {name: np.array(values) for name, values in rows.items()} for filling, rows in out.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--bundle", default="face-voice-words")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    (member,) = Predictor(args.bundle).members
    faces = load_faces(args.data / "portraits" / "train_1.zip", args.clips, args.seed)
    found = deletion(member.model.face_scores, faces, args.seed)  # type: ignore[attr-defined]
    lines = ["| filling | deleted | change of the score | marked changes more |", "|---|---|---|---|"]
    for filling, rows in found.items():
        for name, values in rows.items():
            wins = "" if name == "marked" else f"{np.mean(rows['marked'] > values):.0%}"
            lines.append(f"| {filling} | {name} | {values.mean():.4f} | {wins} |")
    text = "\n".join(lines)
    print(text)
    if args.out:
        args.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
