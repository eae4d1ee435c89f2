"""What the choices in docs/faces.md were measured on; every command prints a Markdown table.

    python benchmarks/faces.py clips CLIPS_DIR                 # faces found, fit to the references, time and memory
    python benchmarks/faces.py landmarks CLIPS_DIR             # which mesh points fit OpenFace's reference best
    python benchmarks/faces.py small CLIPS_DIR                 # how small a face may be in a 1280x720 picture
    python benchmarks/faces.py detectors CLIPS_DIR             # MTCNN beside the landmarker
    python benchmarks/faces.py missing CLIPS_DIR ANNOTATIONS.pkl LSTM.net CNN.net   # the no-face policy
    python benchmarks/faces.py alignment CLIPS_DIR ANNOTATIONS.pkl LSTM.net         # what the landmarks do to scores
    python benchmarks/faces.py mediapipe CLIPS_DIR             # beside MediaPipe's own runtime
    python benchmarks/faces.py golden examples                 # its landmarks of the sample, for the tests

The last two need mediapipe, whose native code tries to reach play.googleapis.com: run them where that is blocked.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import av
import numpy as np

from thinslice.assets import find_asset
from thinslice.features.face_align import REFERENCES, Face, alignment_residual, fit_similarity
from thinslice.features.face_boxes import MESH_LANDMARKS, overlaps
from thinslice.features.face_detect import find_faces_in_image
from thinslice.features.face_landmarker import Landmarker
from thinslice.features.faces import extract_aligned_faces, find_faces
from thinslice.features.frames import frame_times
from thinslice.features.short_term_audio import extract_short_term_audio
from thinslice.media.source import Source


def clips_table(paths: list[Path]) -> None:
    extract_aligned_faces(Source(paths[0], 0.0, 1.0))  # Warm: libraries, networks.
    print(f"| clip | frames with the face, of 18 | {' | '.join(REFERENCES)} | decode all, s | faces, s | CPU, s |")
    print("|---|---|" + "---|" * (len(REFERENCES) + 3))
    rows = []
    for path in paths:
        began = time.perf_counter()
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for _ in container.decode(video=0):
                pass
        floor_s = time.perf_counter() - began
        began, cpu = time.perf_counter(), time.process_time()
        extract_aligned_faces(Source(path))
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        (track, *_) = find_faces(Source(path), list(frame_times(Source(path).duration_s, 18)))
        fits = [
            np.sqrt(np.mean([(alignment_residual(f.landmarks, name) ** 2).sum(1) for f in track.faces if f]))
            for name in REFERENCES
        ]
        rows.append([track.num_seen, *fits, floor_s, wall_s, cpu_s])
        print(f"| {path.name} | {track.num_seen} | " + " | ".join(f"{value:.2f}" for value in rows[-1][1:]) + " |")
    print("| median | | " + " | ".join(f"{value:.2f}" for value in np.median(rows, axis=0)[1:]) + " |")
    print(f"\nLargest resident memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def landmarks_table(paths: list[Path]) -> None:
    landmarker = Landmarker(find_asset("face_landmarker"))
    meshes = [mesh for image in frames_of(paths, 6) for mesh in meshes_of(landmarker, image)]
    names = list(REFERENCES["openface_112"].points)
    target = np.array(list(REFERENCES["openface_112"].points.values()))
    alternatives = {
        "left_eye_outer": ((33, 263), (130, 359), (246, 466)),
        "left_eye_inner": ((133, 362), (243, 463), (155, 382), (173, 398)),
        "nose_bridge": ((168,), (6,), (197,), (8,), (9,)),
        "nose_base": ((2,), (94,), (19,), (164,)),
        "mouth_left": ((61, 291), (78, 308), (76, 306)),
    }
    results = []
    for (a, b), (c, d), (e,), (f,), (g, h) in product(*alternatives.values()):
        indices = [a, c, d, b, e, f, g, h]
        shifts = []
        for mesh in meshes:
            matrix = fit_similarity(mesh[indices], target)
            shifts.append(mesh[indices] @ matrix[:, :2].T + matrix[:, 2] - target)
        results.append((np.sqrt((np.array(shifts) ** 2).sum(-1).mean()), indices, np.mean(shifts, axis=0)))
    results.sort(key=lambda result: result[0])
    chosen = [MESH_LANDMARKS[name][0] for name in names]
    print(f"{len(meshes)} faces. Root mean square distance from the reference, pixels of the 112x112 crop:\n")
    print(f"| mesh points ({', '.join(names)}) | distance |\n|---|---|")
    for distance, indices, _ in results:
        one_apart = sum(index != other for index, other in zip(indices, chosen, strict=True)) <= 2
        if distance == results[0][0] or one_apart:
            print(f"| {indices}{' (chosen)' if indices == chosen else ''} | {distance:.2f} |")
    mean = next(shift for _, indices, shift in results if indices == chosen)
    print("\n| landmark | mean x | mean y |\n|---|---|---|")
    for name, (x, y) in zip(names, mean, strict=True):
        print(f"| {name} | {x:+.1f} | {y:+.1f} |")


def small_table(paths: list[Path]) -> None:
    import cv2

    landmarker = Landmarker(find_asset("face_landmarker"))
    faces = [(image, face) for image in frames_of(paths, 3) for face in landmarker.find(image)[:1]]
    rng = np.random.default_rng(0)
    print("| between the eyes, pixels | one look: found | with tiles: found | landmarks off, share of that | ms |")
    print("|---|---|---|---|---|")
    for eyes in (100, 70, 55, 45, 30, 20, 14, 10):
        found, plain, off, spent = 0, 0, [], 0.0
        tried = 0
        for image, face in faces:
            factor = eyes / face.eye_distance
            part = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            if part.shape[0] > 720 or part.shape[1] > 1280:
                continue
            wide = np.full((720, 1280, 3), image.mean(axis=(0, 1)).astype(np.uint8), np.uint8)
            y, x = (int(rng.integers(0, room - size + 1)) for room, size in zip((720, 1280), part.shape, strict=False))
            wide[y : y + part.shape[0], x : x + part.shape[1]] = part
            wanted = {name: (px * factor + x, py * factor + y) for name, (px, py) in face.landmarks.items()}

            tried += 1
            plain += any(distance(other, wanted) < 0.25 * eyes for other in landmarker.find(wide))
            began = time.perf_counter()
            distances = [distance(other, wanted) / eyes for other in find_faces_in_image(wide)]
            spent += time.perf_counter() - began
            if distances and min(distances) < 0.25:
                found += 1
                off.append(min(distances))
        mean = f"{np.mean(off):.3f}" if off else ""
        print(f"| {eyes} | {plain} of {tried} | {found} of {tried} | {mean} | {1000 * spent / tried:.0f} |")


def distance(face: Face, wanted: dict[str, tuple[float, float]]) -> float:
    """Mean distance of a face's landmarks from where they should be, pixels."""
    return float(np.mean([np.hypot(*np.subtract(face.landmarks[name], place)) for name, place in wanted.items()]))


def detectors_table(paths: list[Path]) -> None:
    spent = {"landmarker": 0.0, "mtcnn": 0.0}
    shared, shifts = [], []
    for image in frames_of(paths, 3):
        found = {}
        for name in spent:
            began = time.process_time()
            found[name] = find_faces_in_image(image, name)
            spent[name] += time.process_time() - began
        (mesh, *_) = found["landmarker"]
        boxes = np.array([face.box for face in found["mtcnn"]]).reshape(-1, 4)
        overlap = overlaps(np.array(mesh.box), boxes) if len(boxes) else np.zeros(1)
        shared.append(overlap.max())
        if overlap.max() > 0.3:
            five = found["mtcnn"][int(overlap.argmax())]
            names = five.landmarks
            shifts.append([np.subtract(five.landmarks[n], mesh.landmarks[n]) / mesh.eye_distance for n in names])
    agreed = np.sum(np.array(shared) > 0.5)
    print(f"{len(shared)} frames; MTCNN finds the landmarker's face (overlap over 0.5) in {agreed}; ", end="")
    print(f"overlap of the boxes: median {np.median(shared):.2f}, lowest {min(shared):.2f}. CPU per frame: ", end="")
    print(", ".join(f"{name} {1000 * total / len(shared):.0f} ms" for name, total in spent.items()))
    print("\n| MTCNN's point less the landmarker's, share of the eye distance | mean x | mean y | SD x | SD y |")
    print("|---|---|---|---|---|")
    for index, name in enumerate(names):
        values = np.array(shifts)[:, index]
        mean, spread = values.mean(axis=0), values.std(axis=0)
        print(f"| {name} | {mean[0]:+.3f} | {mean[1]:+.3f} | {spread[0]:.3f} | {spread[1]:.3f} |")


def missing_table(paths: list[Path], annotations: Path, networks: list[Path]) -> None:
    import torch

    from thinslice.formats.python2_pickle import load_annotations
    from thinslice.systems.bimodal.network import build_bimodal
    from thinslice.systems.bimodal.torch7_weights import read_bimodal
    from thinslice.systems.bimodal.weights import SOUND_PARAMS
    from thinslice.traits import TRAITS

    models = [build_bimodal(read_bimodal(network)) for network in networks]
    labels = load_annotations(annotations)
    truth = np.array([[labels[trait][path.name] for trait in TRAITS] for path in paths])
    sources = [Source(path) for path in paths]
    crops = [extract_aligned_faces(source).swapaxes(0, 1).reshape(18, 112, 112, 3) for source in sources]
    sounds = [extract_short_term_audio(source, **SOUND_PARAMS) for source in sources]

    def predict(stand_ins: np.ndarray) -> np.ndarray:
        scores = []
        for crop, sound in zip(crops, sounds, strict=True):
            pictures = crop[stand_ins].reshape(6, 3, 112, 112, 3).transpose(1, 0, 4, 2, 3).astype(np.float32) / 255
            heard = torch.from_numpy(sound).expand(3, -1, -1)
            with torch.no_grad():
                scores.append(
                    np.mean([model(torch.from_numpy(pictures), heard).numpy() for model in models], axis=(0, 1))
                )
        return np.array(scores)

    def row(name: str, found: np.ndarray) -> None:
        stand_ins = np.array([found[np.argmin(np.abs(found - index))] for index in range(18)])
        scores = predict(stand_ins)
        change = np.abs(scores - whole)
        correlation = np.mean([np.corrcoef(scores[:, i], truth[:, i])[0, 1] for i in range(5)])
        error = np.abs(scores - truth).mean()
        print(f"| {name} | {change.mean():.3f} | {change.max():.2f} | {error:.3f} | {correlation:.2f} |")

    whole = predict(np.arange(18))
    rng = np.random.default_rng(0)
    print(f"{len(paths)} clips, mean of {len(models)} networks.\n")
    print("| face missing | mean change of a score | largest | mean distance from the label | correlation |")
    print("|---|---|---|---|---|")
    row("nowhere", np.arange(18))
    for num in (3, 6, 9, 12, 15):
        row(f"{num} of 18, from the start", np.arange(num, 18))
        row(f"{num} of 18, to the end", np.arange(18 - num))
        row(f"{num} of 18, scattered", np.sort(rng.choice(18, 18 - num, replace=False)))


def alignment_table(paths: list[Path], annotations: Path, network: Path) -> None:
    import cv2
    import torch

    from thinslice.formats.python2_pickle import load_annotations
    from thinslice.systems.bimodal.network import build_bimodal
    from thinslice.systems.bimodal.torch7_weights import read_bimodal
    from thinslice.systems.bimodal.weights import SOUND_PARAMS
    from thinslice.traits import TRAITS

    model, landmarker = build_bimodal(read_bimodal(network)), Landmarker(find_asset("face_landmarker"))
    labels = load_annotations(annotations)
    truth = np.array([[labels[trait][path.name] for trait in TRAITS] for path in paths])
    target = np.array(list(REFERENCES["openface_112"].points.values()))
    chosen = [MESH_LANDMARKS[name][0] for name in REFERENCES["openface_112"].points]
    ways = {"chosen": chosen, "chosen, pixels averaged": chosen}
    ways["inner corners 155, 382"] = [33, 155, 382, 263, *chosen[4:]]
    ways["bridge 6"] = [*chosen[:4], 6, *chosen[5:]]
    ways["bridge 197, base 94"] = [*chosen[:4], 197, 94, *chosen[6:]]
    scores: dict[str, list[np.ndarray]] = {way: [] for way in ways}
    for path in paths:
        heard = torch.from_numpy(extract_short_term_audio(Source(path), **SOUND_PARAMS)).expand(3, -1, -1)
        seen = [(image, next(meshes_of(landmarker, image))) for image in frames_of([path], 18)]
        for way, indices in ways.items():
            crops = []
            for image, mesh in seen:
                matrix = fit_similarity(mesh[indices], target)
                fine = 1 if "averaged" not in way else max(int(np.ceil(1 / np.hypot(*matrix[:, 0]))), 1)
                larger = matrix * fine + np.array([[0, 0, (fine - 1) / 2]] * 2)
                crop = cv2.warpAffine(image, larger, (112 * fine, 112 * fine))
                crops.append(cv2.resize(crop, (112, 112), interpolation=cv2.INTER_AREA))
            pictures = np.stack(crops).reshape(6, 3, 112, 112, 3).transpose(1, 0, 4, 2, 3).astype(np.float32) / 255
            with torch.no_grad():
                scores[way].append(model(torch.from_numpy(pictures), heard).numpy().mean(axis=0))
    print(f"{len(paths)} clips.\n\n| landmarks | 1 - distance from the label | correlation | mean change | largest |")
    print("|---|---|---|---|---|")
    for way, values in scores.items():
        change = np.abs(np.array(values) - scores["chosen"])
        correlation = np.mean([np.corrcoef(np.array(values)[:, i], truth[:, i])[0, 1] for i in range(5)])
        near = 1 - np.abs(np.array(values) - truth).mean()
        print(f"| {way} | {near:.4f} | {correlation:.3f} | {change.mean():.4f} | {change.max():.4f} |")


def mediapipe_table(paths: list[Path]) -> None:
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    asset = find_asset("face_landmarker")
    ours = Landmarker(asset)
    options = vision.FaceLandmarkerOptions(base_options=BaseOptions(model_asset_path=str(asset)), num_faces=4)
    distances, counts, spent = [], [], [0.0, 0.0]
    with vision.FaceLandmarker.create_from_options(options) as theirs:
        for image in frames_of(paths, 6):
            height, width = image.shape[:2]
            began = time.process_time()
            found = theirs.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)).face_landmarks
            middle = time.process_time()
            meshes = list(meshes_of(ours, image))
            spent[0] += middle - began
            spent[1] += time.process_time() - middle
            counts.append((len(found), len(meshes)))
            if counts[-1] == (1, 1):
                expected = np.array([(point.x * width, point.y * height) for point in found[0]])
                distances.append(np.hypot(*(meshes[0] - expected).T))
    off = np.concatenate(distances)
    print(f"{len(counts)} frames; faces found by MediaPipe {mediapipe.__version__} and here: ", end="")
    print(", ".join(str(sum(count[side] for count in counts)) for side in (0, 1)))
    print(
        f"All 478 points: median {np.median(off):.4f}, 99th percentile {np.quantile(off, 0.99):.3f}, largest ", end=""
    )
    print(
        f"{off.max():.2f} pixels apart. CPU per frame: "
        + " and ".join(f"{1000 * s / len(counts):.0f} ms" for s in spent)
    )


def golden_landmarks(paths: list[Path]) -> None:
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    asset = str(find_asset("face_landmarker"))
    options = vision.FaceLandmarkerOptions(base_options=BaseOptions(model_asset_path=asset), num_faces=4)
    image = next(Source(next(path for path in paths if path.name == "sample.mp4")).frames([1.0])).image
    picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        (points,) = landmarker.detect(picture).face_landmarks
    for name, indices in MESH_LANDMARKS.items():
        x, y = np.mean([(points[i].x * image.shape[1], points[i].y * image.shape[0]) for i in indices], axis=0)
        print(f'    "{name}": ({x:.2f}, {y:.2f}),')


def frames_of(paths: list[Path], num_frames: int) -> Iterator[np.ndarray]:
    for path in paths:
        source = Source(path)
        for frame in source.frames(list(frame_times(source.duration_s, num_frames))):
            yield np.ascontiguousarray(frame.image)


def meshes_of(landmarker: Landmarker, image: np.ndarray) -> Iterator[np.ndarray]:
    """The raw meshes, which `find` reduces to named landmarks."""
    height, width = image.shape[:2]
    side = max(height, width)
    for _, points in landmarker._detect(image, (width - side) / 2, (height - side) / 2, side):
        mesh, presence = landmarker._fit_mesh(image, points)
        if presence >= 0.5:
            yield mesh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", choices=("alignment", "clips", "landmarks", "small", "detectors", "missing", "mediapipe", "golden")
    )
    parser.add_argument("clips", type=Path)
    parser.add_argument("files", type=Path, nargs="*")
    arguments = parser.parse_args()
    paths = sorted(arguments.clips.glob("*.mp4"))
    if arguments.what == "missing":
        missing_table(paths, arguments.files[0], arguments.files[1:])
    elif arguments.what == "alignment":
        alignment_table(paths, *arguments.files)
    else:
        tables = {"clips": clips_table, "landmarks": landmarks_table, "small": small_table}
        tables |= {"detectors": detectors_table, "mediapipe": mediapipe_table, "golden": golden_landmarks}
        tables[arguments.what](paths)


if __name__ == "__main__":
    main()
