"""From one media file, or one row of precomputed inputs, to its apparent traits."""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from thinslice import DEFAULT_BUNDLE
from thinslice.bundle import TRANSCRIPT, Bundle, Card
from thinslice.errors import MediaError, ThinsliceError, UsageError, printable
from thinslice.features.english import why_not_english
from thinslice.features.transcript import check_length, clean_words, find_transcript
from thinslice.infer.choice import LOOKING, Labels, chosen_labels, restrict
from thinslice.infer.combine import (
    combine_explanations,
    combine_traits,
    equal_weights,
    inverse_variance_weights,
    join_transcripts,
)
from thinslice.infer.listening import find_first_speech, judge_profile, judge_sound
from thinslice.infer.member_features import MemberFeatures, extract_member_features
from thinslice.infer.members import Member, Words, load_member, reads_words, trait_scores
from thinslice.infer.naming import errors_named, renamed
from thinslice.infer.origin import say_if_drawn, say_if_synthetic
from thinslice.media.source import Source
from thinslice.media.spool import Clip, as_file, is_path, name_of
from thinslice.targets import in_order
from thinslice.types import Prediction, TraitScore, Window

CLIP_S = 15.3
"""Length of the longest clip the bundled models were trained on."""
SCORED_WHOLE_S = 20.0
"""A clip up to this long is scored whole; of a longer one the first `CLIP_S` seconds, unless told otherwise."""
LONGEST_WINDOW_S = 300.0
SHORTEST_WINDOW_S = 1.0
HEARD = frozenset({"voice", "sound"})
"""Labels of inputs that are heard."""
RECOGNISED_EXCESS = 1.07
"""The recogniser writes down fillers and repetitions that the edited transcripts of the training clips lack: so many
times their words (`benchmarks/asr.py`). Without this, recognised speech would count as faster than it is."""


VOICE = "voice_profile"
"""Extractor of the 26 means that a table of inputs may bring along."""


@dataclass(frozen=True, kw_only=True)
class _How:
    """What is asked of every window of a clip.

    Attributes:
        transcript: the words, or a file of them, as given.
        allowed: labels of the inputs that may be used.
        audio_track: which sound track to hear; None for the usual one.
        explain: whether to compute what moved the scores.
        pictures: whether the explanation shows what was looked at.
        begin: called with what begins.
    """

    transcript: str | Path | None
    allowed: Labels
    audio_track: int | None
    explain: bool
    pictures: bool
    begin: Callable[[str], None]


class Predictor:
    """Loads a bundle once and scores any number of clips.

    Args:
        bundle: name of a bundle, a bundle's folder, or several names joined by "+": their mean, weighted per
            trait by inverse residual variance.
        threads: how many processors one prediction may use; all of them if None.

    Raises:
        BundleError: a bundle is missing or damaged.
    """

    def __init__(self, bundle: str | Path = DEFAULT_BUNDLE, threads: int | None = None) -> None:
        self._threads = threads
        names = [str(bundle)] if Path(bundle).is_dir() else str(bundle).split("+")
        self.members: list[Member] = [load_member(name, threads) for name in names]

    @property
    def cards(self) -> dict[str, Card]:
        """Model cards by bundle name."""
        return {member.bundle.name: member.bundle.card for member in self.members}

    def predict(
        self,
        clip: Clip,
        *,
        transcript: str | Path | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        every_s: float | None = None,
        audio_track: int | None = None,
        only: Iterable[str] | None = None,
        without: Iterable[str] | None = None,
        explain: bool = True,
        pictures: bool = True,
        on_stage: Callable[[str], None] | None = None,
    ) -> Prediction:
        """Score one clip.

        Args:
            clip: path of a video or audio file, a picture, or a folder of frames (`thinslice.media.pictures`); or the
                bytes of a media file, or a file open for reading bytes, which are written to the disk meanwhile.
            transcript: the words spoken, or a .txt, .srt or .vtt file of them. Without it, such a file beside the
                clip is read, else the words are recognised where the `asr` extra is installed.
            start_s: where to start, seconds. With 0 and without an end, a model that listens skips silence or music
                before the speech and says so.
            end_s: where to end, seconds; by default a clip of up to 20 s is scored whole, of a longer one the
                first 15.3 s, the length of the training clips.
            every_s: also score consecutive windows of this length (a timeline); the clip's scores are then the
                mean over the windows.
            audio_track: which sound track to hear, counted from 1; None for the one marked as default, else the first
                that is not silent.
            only: labels of the only inputs to use, such as ("face", "words"); None for all that the bundle takes.
            without: labels of inputs not to use.
            explain: whether to compute what moved the scores.
            pictures: whether the explanation shows the face that was looked at, with heat maps; takes some seconds. A
                timeline shows none.
            on_stage: called with what begins: "words", an input's label such as "voice", "model", "explain".

        Returns:
            Scores in [0, 1] with the 80% prediction intervals of the inputs that were used, and percentiles.

        Raises:
            MediaError: the file cannot be used; the message says why.
            UsageError: the window or the step makes no sense; the bundle lacks an input named, or cannot do without.
        """
        started = time.perf_counter()
        name = printable(name_of(clip))  # as the caller wrote it, but for bytes that no text takes
        how = _How(
            transcript=transcript,
            allowed=chosen_labels([member.bundle for member in self.members], only, without),
            audio_track=audio_track,
            explain=explain,
            pictures=pictures and every_s is None,
            begin=on_stage or _tell_nobody,
        )
        is_copy = not is_path(clip)
        with as_file(clip) as path, errors_named(path, name) if is_copy else nullcontext():
            if every_s is not None:
                prediction = self._predict_windows(path, start_s, end_s, every_s, how, started)
            else:
                prediction = self._predict_whole(path, start_s, end_s, how, started)
        prediction = replace(prediction, clip=name, warnings=tuple(map(printable, prediction.warnings)))
        return renamed(prediction, path, name) if is_copy else prediction

    def _predict_whole(
        self, path: Path, start_s: float, end_s: float | None, how: "_How", started: float
    ) -> Prediction:
        """Score a window at once."""
        source, notes = _open_window(path, start_s, end_s, how.audio_track)
        listens = self._listens(how) and source.pictures is None
        skipped_s = find_first_speech(source) if listens and start_s == 0 and end_s is None else 0.0
        if skipped_s:
            source, notes = _open_window(path, skipped_s, None, how.audio_track)
            notes.insert(0, f"no speech in the first {skipped_s:.1f} s: they are left out; keep them with --end")
        prediction = self._predict_source(source, how, started, skipped_s)
        return replace(prediction, warnings=(*notes, *prediction.warnings))

    def _listens(self, how: "_How") -> bool:
        """Whether sound is used, by a model that learned from real voices: then it is judged by them first."""
        real = [member for member in self.members if not member.bundle.card.synthetic]
        return any(entry.label in how.allowed & HEARD for member in real for entry in member.bundle.inputs.values())

    def _predict_source(self, source: Source, how: "_How", started: float, skipped_s: float = 0.0) -> Prediction:
        seconds: dict[str, float] = {}
        how.begin("words")
        words, notes = self._words(source, how, seconds, source.start_s - skipped_s)
        source.transcript = words.text if words else ""
        allowed = self._within(source, how.allowed)
        bundles = [restrict(member.bundle, allowed) for member in self.members]
        inputs = extract_member_features(source, bundles, seconds, how.begin)
        if all(_missing(member, its.arrays, words) for member, its in zip(self.members, inputs, strict=True)):
            missing = _missing(self.members[0], inputs[0].arrays, words)
            raise _nothing_to_score(source, missing, inputs[0].reasons, notes)
        heard = judge_sound(source) if source.pictures is None and self._listens(how) else []
        prediction = self._score(str(source.path), inputs, words, how, seconds, started)
        # Messages name their file; beside the clip's own result that would only be repeated.
        said = say_if_synthetic(source)
        lines = [line.removeprefix(f"{source.path}: ") for line in (*source.warnings, *_reasons(inputs))]
        return replace(prediction, warnings=tuple(dict.fromkeys((*said, *prediction.warnings, *lines, *heard, *notes))))

    def _score(
        self,
        clip: str,
        inputs: Sequence[MemberFeatures],
        words: Words | None,
        how: "_How",
        seconds: dict[str, float],
        started: float,
    ) -> Prediction:
        """Score what each member has of a clip; one member at least must have what it needs."""
        how.begin("model")
        began = time.perf_counter()
        parts: list[tuple[Member, dict[str, np.ndarray], dict[str, TraitScore]]] = []
        used: list[str] = []
        warnings = []
        for member, its in zip(self.members, inputs, strict=True):
            missing = _missing(member, its.arrays, words)
            if missing:
                warnings.append(f"{member.bundle.name} left out: it needs {', '.join(missing)}")
                continue
            scores, labels = member.score(its.arrays, words)
            parts.append((member, its.arrays, trait_scores(member.bundle, scores, labels)))
            used += labels
            warnings += say_if_drawn(member.bundle, its.arrays)
            if member.bundle.card.synthetic:
                warnings.append(
                    f"{member.bundle.name} was trained on synthetic clips: its scores say nothing about people"
                )
        seconds["model"] = time.perf_counter() - began
        traits = [entry for *_, entry in parts]
        weights = inverse_variance_weights(traits)
        explanation = None
        if how.explain:
            how.begin("explain")
            began = time.perf_counter()
            explained = [member.explain(its, words, how.pictures) for member, its, _ in parts]
            explanation = combine_explanations(explained, weights)
            seconds["explain"] = time.perf_counter() - began
        return Prediction(
            clip=clip,
            traits=_in_order(combine_traits(traits, weights, self._percentile)),
            used=tuple(dict.fromkeys(used)),
            transcript=words.text if words and "words" in used else None,
            warnings=tuple(warnings),
            seconds={**seconds, "total": time.perf_counter() - started},
            bundle=self._bundle([member for member, *_ in parts]),
            explanation=explanation,
        )

    def _predict_windows(
        self,
        path: Path,
        start_s: float,
        end_s: float | None,
        every_s: float,
        how: "_How",
        started: float,
    ) -> Prediction:
        if not SHORTEST_WINDOW_S <= every_s <= LONGEST_WINDOW_S:
            raise UsageError(f"--every {every_s:g}: give {SHORTEST_WINDOW_S:g} to {LONGEST_WINDOW_S:g} seconds")
        if isinstance(how.transcript, str) and not Path(how.transcript).suffix:
            raise UsageError("--every needs a timed transcript (.srt or .vtt); a plain text has no times to cut it by")
        end = _checked_end(Source(path), start_s, end_s)
        windows, scored, first_error = [], [], None
        for low, high in _window_bounds(start_s, end, every_s):
            try:
                part = self._predict_source(
                    Source(path, low, high, audio_track=how.audio_track), how, time.perf_counter()
                )
            except ThinsliceError as error:
                first_error = first_error or error
                windows.append(Window(low, high, {}, str(error)))
            else:
                scored.append(part)
                windows.append(Window(low, high, part.traits, "; ".join(part.warnings)))
        if not scored:
            raise first_error or MediaError(f"{path}: no window to score between {start_s:g} and {end:g} s")

        traits = [part.traits for part in scored]
        weights = equal_weights(traits)
        transcript, offsets = join_transcripts(scored)
        stages = dict.fromkeys(stage for part in scored for stage in part.seconds)
        seconds = {stage: sum(part.seconds.get(stage, 0.0) for part in scored) for stage in stages}
        return replace(
            scored[0],
            traits=combine_traits(traits, weights, self._percentile),
            used=tuple(dict.fromkeys(label for part in scored for label in part.used)),
            transcript=transcript,
            warnings=tuple(dict.fromkeys(line for part in scored for line in part.warnings)),
            seconds={**seconds, "total": time.perf_counter() - started},
            explanation=combine_explanations([part.explanation for part in scored], weights, offsets),
            timeline=tuple(windows),
        )

    def predict_inputs(
        self,
        clip: str,
        voice_profile: np.ndarray | None = None,
        transcript: str | None = None,
        pictures: str | Path | None = None,
        *,
        only: Iterable[str] | None = None,
        without: Iterable[str] | None = None,
        explain: bool = True,
    ) -> Prediction:
        """Score inputs that were computed before, and pictures, without a recording.

        Args:
            clip: name for the result.
            voice_profile: 26 means in the order of `thinslice.features.voice.VOICE_PROFILE_COLUMNS`, or None.
            transcript: the words, or None.
            pictures: a picture or a folder of frames (`thinslice.media.pictures`), or None.
            only: as in `predict`.
            without: as in `predict`.
            explain: whether to compute what moved the scores.

        Raises:
            UsageError: the bundle needs more than these inputs; `only` and `without` as in `predict`.
            MediaError: there is nothing that the bundle uses, or the pictures show no face.
        """
        started = time.perf_counter()
        allowed = chosen_labels([member.bundle for member in self.members], only, without)
        how = _How(
            transcript=transcript,
            allowed=allowed,
            audio_track=None,
            explain=explain,
            pictures=False,
            begin=_tell_nobody,
        )
        seconds: dict[str, float] = {}
        reads = any(reads_words(member, allowed) for member in self.members)
        text = clean_words(check_length(transcript or "", f"{clip}: its transcript")) if reads else ""
        words = Words(text) if text else None
        bundles = [restrict(member.bundle, allowed) for member in self.members]
        usable = _usable(bundles, reads)
        if not usable:
            raise UsageError(f"bundle {self._bundle(self.members)['name']} needs the recording itself; give clips")
        source = None if pictures is None else Source(pictures)
        looking = [restrict(bundle, LOOKING) if source else replace(bundle, specs={}) for bundle in bundles]
        inputs = extract_member_features(source or Source(clip), looking, seconds, how.begin)
        if voice_profile is not None:
            for bundle, its in zip(bundles, inputs, strict=True):
                its.arrays.update(
                    {name: voice_profile for name, spec in bundle.specs.items() if spec.extractor == VOICE}
                )
        if all(_missing(member, its.arrays, words) for member, its in zip(self.members, inputs, strict=True)):
            reasons = _reasons(inputs)
            raise MediaError(
                reasons[0] if reasons else f"{clip}: its row lacks all that is used: {' or '.join(usable)}"
            )
        prediction = self._score(clip, inputs, words, how, seconds, started)
        lines = [*prediction.warnings, *(source.warnings if source else ()), *_reasons(inputs)]
        if voice_profile is not None and self._listens(how):
            lines += judge_profile(voice_profile)
        lines += filter(None, [why_not_english(text)])
        return replace(prediction, warnings=tuple(dict.fromkeys(lines)))

    def _within(self, source: Source, allowed: Labels) -> Labels:
        """Return what can be in a clip: nobody need be told that a picture is silent, or a sound file shows nothing."""
        seen, rest = self._labels() & allowed & LOOKING, self._labels() & allowed - LOOKING
        if source.pictures is not None:
            return seen or allowed
        return allowed if source.info.has_video or not rest else rest

    def _labels(self) -> Labels:
        return frozenset(entry.label for member in self.members for entry in member.bundle.inputs.values())

    def _words(
        self, source: Source, how: "_How", seconds: dict[str, float], text_start_s: float
    ) -> tuple[Words | None, list[str]]:
        """Return the words given, found beside the clip or recognised, and what the user should know of them."""
        if not any(reads_words(member, how.allowed) for member in self.members):
            return None, []
        began = time.perf_counter()
        to_the_end = source.end_s is None or source.end_s >= source.info.duration_s
        found = find_transcript(source.path, how.transcript, text_start_s, None if to_the_end else source.end_s)
        if found is not None:
            seconds["transcript"] = time.perf_counter() - began
            notes = [*found.notes, *filter(None, [why_not_english(found.text)])]
            duration_s = None if source.pictures else source.duration_s
            return (Words(found.text, duration_s) if found.text.strip() else None), notes
        if source.pictures is not None:
            return None, []
        text, reason = _recognise(source, self._threads)
        seconds["speech_to_text"] = time.perf_counter() - began
        notes = [reason] if reason else []
        if source.path.with_suffix(".txt").is_file():
            notes.append(
                f"{source.path.with_suffix('.txt').name} has no times, so the words of this window are unknown"
            )
        return (Words(text, source.duration_s * RECOGNISED_EXCESS) if text else None), notes

    def _percentile(self, target: str, score: float) -> float:
        bundle = next(member.bundle for member in self.members if target in member.bundle.outputs)
        return bundle.percentile(target, score)

    def _bundle(self, members: Sequence[Member]) -> dict[str, str]:
        return {
            "name": "+".join(member.bundle.name for member in members),
            "version": "+".join(member.bundle.document.version for member in members),
        }


def _open_window(path: Path, start_s: float, end_s: float | None, audio_track: int | None) -> tuple[Source, list[str]]:
    """Return the part of the clip to score, and a line for the user where it is not the whole."""
    source = Source(path, start_s, end_s, audio_track=audio_track)
    end = _checked_end(source, start_s, end_s)
    if end - start_s > LONGEST_WINDOW_S and end_s is not None:
        raise MediaError(f"{path}: {end - start_s:.0f} s at once; end by {LONGEST_WINDOW_S:g} s, or use --every")
    if end_s is None and end - start_s > SCORED_WHOLE_S:
        note = (
            f"{end - start_s:.0f} s long: scored {start_s:.3g}-{start_s + CLIP_S:.3g} s only, as long as the training "
            "clips; choose with --start/--end, or see it all with --every"
        )
        return Source(path, start_s, start_s + CLIP_S, audio_track=audio_track), [note]
    return source, []


def _checked_end(source: Source, start_s: float, end_s: float | None) -> float:
    duration_s = source.info.duration_s
    end = duration_s if end_s is None else min(end_s, duration_s)
    if not duration_s:
        raise MediaError(f"{source.path}: holds no sound and no pictures (0 s long); record or copy it again")
    if start_s >= duration_s and source.info.num_pictures == 1:
        raise MediaError(f"{source.path}: is one picture, which has no times; leave --start and --end out")
    if start_s >= duration_s:
        raise MediaError(f"{source.path}: is {duration_s:.3g} s long; start before that, not at {start_s:g} s")
    if end - start_s < SHORTEST_WINDOW_S and not source.info.num_pictures:
        raise MediaError(f"{source.path}: {end - start_s:.2f} s is too short; give at least 1 s of speech")
    return end


def _window_bounds(start_s: float, end_s: float, every_s: float) -> list[tuple[float, float]]:
    """Cut a range into windows of `every_s`; a rest shorter than half a window joins the last."""
    count = max(1, int((end_s - start_s) / every_s + 0.5))
    bounds = [start_s + index * every_s for index in range(count)] + [end_s]
    return list(itertools.pairwise(bounds))


def _reasons(inputs: Sequence[MemberFeatures]) -> list[str]:
    return [line for its in inputs for line in its.reasons.values()]


def _usable(bundles: Sequence[Bundle], reads: bool) -> list[str]:
    """Return what of a table's columns bundles can use, in words."""
    specs = {name: spec for bundle in bundles for name, spec in bundle.specs.items()}
    looks = any(bundle.inputs[name].label in LOOKING for bundle in bundles for name in bundle.specs)
    hears = any(spec.extractor == VOICE for spec in specs.values())
    said = {"pictures": looks, "a voice profile": hears, "a transcript": reads}
    return [name for name, there in said.items() if there]


def _missing(member: Member, features: Mapping[str, np.ndarray], words: Words | None) -> list[str]:
    """Return the names of inputs without which the member cannot score."""
    there = {*features, *([TRANSCRIPT] if words else [])}
    inputs = member.bundle.inputs
    needed = [name for name, entry in inputs.items() if not entry.optional and name not in there]
    return needed or ([] if there & set(inputs) else list(inputs))


def _nothing_to_score(
    source: Source, missing: Sequence[str], reasons: Mapping[str, str], text_notes: Sequence[str]
) -> MediaError:
    known = [reasons[name] for name in missing if name in reasons]
    if known and text_notes:
        return MediaError(f"{known[0]}, and no transcript (give one with --transcript)")
    return MediaError(known[0] if known else f"{source.path}: lacks {', '.join(missing)}")


def _recognise(source: Source, threads: int | None) -> tuple[str | None, str | None]:
    """Return the words recognised in the clip, or why there are none."""
    from thinslice.features.asr import recognise

    try:
        samples = source.audio(16_000)
    except MediaError:
        return None, None  # the voice has already said so
    return recognise(samples, cpu_threads=threads)


def _tell_nobody(stage: str) -> None:
    pass


def _in_order(traits: Mapping[str, object]) -> dict:
    return {target: traits[target] for target in in_order(traits)}
