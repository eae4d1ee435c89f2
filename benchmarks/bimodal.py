"""The bimodal networks on real training clips; and the two small tables their conversion ships with.

    python benchmarks/bimodal.py labels ANNOTATIONS.pkl        # writes data/label_quantiles.json
    python benchmarks/bimodal.py neutral CLIPS_DIR             # writes systems/bimodal/neutral.json
    python benchmarks/bimodal.py score CLIPS_DIR ANNOTATIONS.pkl LSTM.net CNN.net [--out FILE.md]
    python benchmarks/bimodal.py alignment CLIPS_DIR ANNOTATIONS.pkl LSTM.net CNN.net [--out FILE.md]
    python benchmarks/bimodal.py deviations CLIPS_DIR ANNOTATIONS.pkl LSTM.net CNN.net [--out FILE.md]
    python benchmarks/bimodal.py mirror CLIPS_DIR ANNOTATIONS.pkl LSTM.net CNN.net [--out FILE.md]

`alignment` moves, scales and masks the aligned faces, to see how much hangs on it. `deviations` tells how the scores of
the mean of both change when something is done otherwise. `mirror` compares them with those of the mirrored faces.

The clips are First Impressions training clips, which the networks were trained on: what `score` prints shows that
they are fed as their authors fed them. It is no accuracy.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from thinslice.bundle import load_bundle
from thinslice.explain.picture_and_sound import explain_picture_and_sound
from thinslice.features.face_align import REFERENCES, fit_similarity
from thinslice.features.faces import extract_aligned_faces, find_faces, stand_ins
from thinslice.features.frames import frame_times
from thinslice.features.short_term_audio import (
    EPSILON,
    extract_short_term_audio,
    part_statistics,
    short_term_features,
)
from thinslice.formats.python2_pickle import load_annotations
from thinslice.infer.onnx_model import OnnxModel
from thinslice.media.source import Source
from thinslice.systems.bimodal.torch7_weights import read_bimodal
from thinslice.systems.bimodal.weights import FACE_PARAMS, SOUND_PARAMS, convert_bimodal
from thinslice.traits import TRAITS

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "thinslice"


def write_labels(annotations: Path) -> None:
    labels = load_annotations(annotations)
    grid = np.linspace(0, 1, 101)
    columns = {trait: np.array(list(labels[trait].values())) for trait in TRAITS}
    document = {
        "source": "First Impressions V2, training labels",
        "num_clips": len(columns[TRAITS[0]]),
        "deviation": {trait: round(float(values.std()), 4) for trait, values in columns.items()},
        "quantiles": {trait: np.quantile(values, grid).round(4).tolist() for trait, values in columns.items()},
    }
    (PACKAGE / "data" / "label_quantiles.json").write_text(json.dumps(document) + "\n", "utf-8")


def write_neutral(clips: Path) -> None:
    rows = [extract_short_term_audio(Source(path), **SOUND_PARAMS) for path in sorted(clips.glob("*.mp4"))]
    document = {
        "source": "mean over the six parts of First Impressions training clips",
        "num_clips": len(rows),
        "sound": [float(f"{value:.6g}") for value in np.mean(rows, axis=(0, 1), dtype=np.float64)],
    }
    (PACKAGE / "systems" / "bimodal" / "neutral.json").write_text(json.dumps(document) + "\n", "utf-8")


def score(clips: Path, annotations: Path, lstm: Path, cnn: Path, out: Path | None) -> None:
    paths = sorted(clips.glob("*.mp4"))
    labels = load_annotations(annotations)
    truth = np.array([[labels[trait][path.name] for trait in TRAITS] for path in paths])
    pictures, sounds, seconds = [], [], {"faces": [], "sound": []}  # type: ignore[var-annotated]
    for path in paths:
        source = Source(path)
        began = time.perf_counter()
        pictures.append(extract_aligned_faces(source, **FACE_PARAMS))
        seconds["faces"].append(time.perf_counter() - began)
        began = time.perf_counter()
        sounds.append(extract_short_term_audio(source, **SOUND_PARAMS))
        seconds["sound"].append(time.perf_counter() - began)

    lines = ["| network | sound | accuracy | " + " | ".join(f"r {trait}" for trait in TRAITS) + " | mean r |"]
    lines.append("|" + "---|" * (len(TRAITS) + 4))
    with tempfile.TemporaryDirectory() as folder:
        for name, files in {"bimodal-lstm": (lstm, None), "bimodal-3dcnn": (None, cnn), "bimodal": (lstm, cnn)}.items():
            bundle = load_bundle(convert_bimodal(*files, Path(folder) / name))
            model = OnnxModel(bundle.folder)
            neutral = dict(np.load(bundle.folder / "neutral.npz"))
            for heard, chosen in (("its own", sounds), ("neutral", [neutral["sound"]] * len(paths))):
                scores = np.array(
                    [model.predict({"pictures": p, "sound": s}) for p, s in zip(pictures, chosen, strict=True)]
                )
                lines.append(_row(name, heard, scores, truth))
                if heard == "its own":
                    own = scores
            change = np.sqrt(((scores - own) ** 2).mean(0))
            blind = np.array([model.predict({**neutral, "sound": s}) for s in sounds])
            lines.append(_row(name, "its own, no face", blind, truth))
            times = [_time(lambda m=model: m.predict({"pictures": pictures[0], "sound": sounds[0]})) for _ in range(9)]
            began = time.perf_counter()
            explain_picture_and_sound(
                model.predict, {"pictures": pictures[0], "sound": sounds[0]}, neutral, bundle.outputs
            )
            explained = time.perf_counter() - began
            lines.append("")
            lines.append(
                f"{name}: model {statistics.median(times) * 1e3:.0f} ms, explanation {explained:.2f} s; neutral sound "
                f"changes the scores by (rms) {', '.join(f'{value:.3f}' for value in change)}; neutral picture and "
                f"sound score {', '.join(f'{value:.3f}' for value in model.predict(neutral))}"
            )
            lines.append("")
            lines.extend(lines[:2] if name != "bimodal" else [])
    for stage, values in seconds.items():
        lines.append(f"{stage}: median {statistics.median(values):.2f} s a clip, decoding included")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines.append(f"{len(paths)} clips; peak memory of this process {peak:.0f} MB")
    lines.append(f"weights: {', '.join(f'{f.name} official: {read_bimodal(f).official}' for f in (lstm, cnn))}")
    _print(lines, out)


Fit = Callable[[np.ndarray], np.ndarray]
"""Landmarks in a frame -> matrix (2, 3) from the frame to the picture of the face."""


def _alignments() -> tuple[list[str], dict[str, Fit]]:
    reference = REFERENCES["openface_112"]
    names, target = list(reference.points), np.array(list(reference.points.values()))
    centre = np.array([56.0, 48.5])

    def least_squares(source: np.ndarray) -> np.ndarray:
        return fit_similarity(source, target)

    def size_ratio(source: np.ndarray) -> np.ndarray:
        """OpenFace's own fit: the scale is the ratio of the points' sizes, whatever the residuals."""
        matrix = fit_similarity(source, target)[:, :2]
        sizes = [np.sqrt(((points - points.mean(0)) ** 2).sum()) for points in (source, target)]
        matrix *= sizes[1] / sizes[0] / np.sqrt(abs(np.linalg.det(matrix)))
        return np.column_stack([matrix, target.mean(0) - matrix @ source.mean(0)])

    def changed(scale: float = 1.0, right: float = 0.0, down: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
        def fit(source: np.ndarray) -> np.ndarray:
            matrix = scale * fit_similarity(source, target)
            matrix[:, 2] += (1 - scale) * centre + (right, down)
            return matrix

        return fit

    return names, {
        "as shipped": least_squares,
        "OpenFace's scale": size_ratio,
        "2% larger": changed(1.02),
        "4% larger": changed(1.04),
        "4% smaller": changed(0.96),
        "half a pixel right": changed(right=0.5),
        "half a pixel down": changed(down=0.5),
        "2 pixels right": changed(right=2),
        "2 pixels down": changed(down=2),
    }


def alignment(clips: Path, annotations: Path, lstm: Path, cnn: Path, out: Path | None) -> None:
    import cv2

    paths = sorted(clips.glob("*.mp4"))
    labels = load_annotations(annotations)
    truth = np.array([[labels[trait][path.name] for trait in TRAITS] for path in paths])
    with tempfile.TemporaryDirectory() as folder:
        models = {
            name: OnnxModel(convert_bimodal(*files, Path(folder) / name))
            for name, files in {"LSTM": (lstm, None), "3-D": (None, cnn), "mean": (lstm, cnn)}.items()
        }
    names, variants = _alignments()
    mask = np.zeros((112, 112, 1), np.uint8)
    cv2.ellipse(mask, (56, 50), (42, 52), 0, 0, 360, 1, -1)
    crops: dict[str, list[np.ndarray]] = {name: [] for name in (*variants, "masked by an ellipse")}
    sounds = []
    for path in paths:
        source = Source(path)
        sounds.append(extract_short_term_audio(source, **SOUND_PARAMS))
        times = list(frame_times(source.duration_s, 18))
        track = find_faces(source, times)[0]
        chosen = stand_ins(track)
        frames = [frame.image for frame in source.frames(times)]
        for name, fit in variants.items():
            images = []
            for index in chosen:
                face = track.faces[index]
                assert face is not None
                matrix = fit(np.array([face.landmarks[key] for key in names]))
                images.append(cv2.warpAffine(frames[index], matrix, (112, 112)))
            crops[name].append(np.stack(images).reshape(6, 3, 112, 112, 3).swapaxes(0, 1))
        crops["masked by an ellipse"].append(crops["as shipped"][-1] * mask)

    lines = [
        "| faces | " + " | ".join(f"{name}: accuracy, mean r" for name in models) + " | change of the mean's scores |"
    ]
    lines.append("|" + "---|" * (len(models) + 2))
    shipped = None
    for name, pictures in crops.items():
        cells = []
        for model in models.values():
            inputs = zip(pictures, sounds, strict=True)
            scores = np.array([model.predict({"pictures": np.ascontiguousarray(p), "sound": s}) for p, s in inputs])
            r = np.mean([np.corrcoef(scores[:, index], truth[:, index])[0, 1] for index in range(len(TRAITS))])
            cells.append(f"{1 - np.abs(scores - truth).mean():.4f}, {r:.2f}")
        shipped = scores if shipped is None else shipped
        change = np.abs(scores - shipped)
        lines.append(f"| {name} | {' | '.join(cells)} | mean {change.mean():.3f}, largest {change.max():.3f} |")
    _print(lines, out)


def deviations(clips: Path, annotations: Path, lstm: Path, cnn: Path, out: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = OnnxModel(convert_bimodal(lstm, cnn, Path(folder) / "bimodal"))
    rate = SOUND_PARAMS["rate_hz"]

    def heard(samples: np.ndarray, epsilon: float) -> np.ndarray:
        features = short_term_features(samples, rate, SOUND_PARAMS["window_s"], epsilon)
        return part_statistics(features, len(samples), round(rate * SOUND_PARAMS["window_s"])).astype(np.float32)

    changes: dict[str, list[np.ndarray]] = {}
    for path in sorted(clips.glob("*.mp4")):
        source = Source(path)
        pictures = extract_aligned_faces(source, **FACE_PARAMS)
        samples = source.audio(rate).astype(np.float64)
        silenced = samples.copy()
        silenced[2 * rate : 3 * rate] = 0.0

        def run(samples: np.ndarray, epsilon: float = 1e-8, pictures: np.ndarray = pictures) -> np.ndarray:
            return model.predict({"pictures": pictures, "sound": heard(samples, epsilon)})

        own = run(samples)
        found = {
            "the middle draw alone": run(samples, pictures=pictures[1:2]) - own,
            "sound rounded to 16 bits": run(np.round(samples * 2**15) / 2**15) - own,
            "the library's eps of today": run(samples, EPSILON) - own,
            "a second silenced: eps of today against 1e-8": run(silenced, EPSILON) - run(silenced),
            "a second silenced, eps of today, against the whole clip": run(silenced, EPSILON) - own,
            "a second silenced, eps 1e-8, against the whole clip": run(silenced) - own,
        }
        for name, change in found.items():
            changes.setdefault(name, []).append(np.abs(change))
    lines = ["| what is done otherwise | mean change | largest |", "|---|---|---|"]
    lines += [f"| {name} | {np.mean(values):.4f} | {np.max(values):.4f} |" for name, values in changes.items()]
    _print(lines, out)


def mirror(clips: Path, annotations: Path, lstm: Path, cnn: Path, out: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = OnnxModel(convert_bimodal(lstm, cnn, Path(folder) / "bimodal"))
    labels = load_annotations(annotations)
    paths = sorted(clips.glob("*.mp4"))
    truth = np.array([[labels[trait][path.name] for trait in TRAITS] for path in paths])
    rows = []
    for path in paths:
        source = Source(path)
        sound = extract_short_term_audio(source, **SOUND_PARAMS)
        pictures = extract_aligned_faces(source, **FACE_PARAMS)
        sides = (pictures, np.ascontiguousarray(pictures[..., ::-1, :]))
        rows.append([model.predict({"pictures": side, "sound": sound}) for side in sides])
    own, mirrored = np.array(rows).transpose(1, 0, 2)
    found = {"as they are": own, "mirrored": mirrored, "mean of both": (own + mirrored) / 2}
    lines = ["| faces | mean change | largest | mean absolute error |", "|---|---|---|---|"]
    for name, scores in found.items():
        change = np.abs(scores - own)
        lines.append(f"| {name} | {change.mean():.4f} | {change.max():.3f} | {np.abs(scores - truth).mean():.4f} |")
    _print(lines, out)


def _print(lines: list[str], out: Path | None) -> None:
    text = "\n".join(lines) + "\n"
    print(text)
    if out is not None:
        out.write_text(text, "utf-8")


def _row(name: str, heard: str, scores: np.ndarray, truth: np.ndarray) -> str:
    correlations = [np.corrcoef(scores[:, index], truth[:, index])[0, 1] for index in range(len(TRAITS))]
    cells = " | ".join(f"{value:.2f}" for value in [*correlations, np.mean(correlations)])
    return f"| {name} | {heard} | {1 - np.abs(scores - truth).mean():.4f} | {cells} |"


def _time(run) -> float:  # type: ignore[no-untyped-def]
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("labels")
    command.add_argument("annotations", type=Path)
    command = commands.add_parser("neutral")
    command.add_argument("clips", type=Path)
    for measured in (score, alignment, deviations, mirror):
        command = commands.add_parser(measured.__name__)
        for name in ("clips", "annotations", "lstm", "cnn"):
            command.add_argument(name, type=Path)
        command.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.command == "labels":
        write_labels(given.annotations)
    elif given.command == "neutral":
        write_neutral(given.clips)
    else:
        run = {"score": score, "alignment": alignment, "deviations": deviations, "mirror": mirror}[given.command]
        run(given.clips, given.annotations, given.lstm, given.cnn, given.out)


if __name__ == "__main__":
    main()
