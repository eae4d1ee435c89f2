"""From one media file, or one row of precomputed inputs, to its apparent traits."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from thinslice.bundle import DEFAULT_BUNDLE, TRANSCRIPT, Card
from thinslice.errors import MediaError, ThinsliceError, UsageError
from thinslice.features.english import why_not_english
from thinslice.features.transcript import clean_words, find_transcript
from thinslice.infer.combine import (
    combine_explanations,
    combine_traits,
    equal_weights,
    inverse_variance_weights,
    join_transcripts,
)
from thinslice.infer.listening import find_first_speech, judge_profile, judge_sound
from thinslice.infer.member_features import extract_member_features
from thinslice.infer.members import Member, Words, load_member, reads_words, trait_scores
from thinslice.media.source import Source
from thinslice.traits import TARGETS
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
    def _listens(self) -> bool:
        return any(entry.label in HEARD for member in self.members for entry in member.bundle.inputs.values())

    @property
    def cards(self) -> dict[str, Card]:
        """Model cards by bundle name."""
        return {member.bundle.name: member.bundle.card for member in self.members}

    def predict(
        self,
        path: str | Path,
        *,
        transcript: str | Path | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        every_s: float | None = None,
        audio_track: int | None = None,
        explain: bool = True,
        on_stage: Callable[[str], None] | None = None,
    ) -> Prediction:
        """Score one media file.

        Args:
            path: video or audio file.
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
            explain: whether to compute what moved the scores.
            on_stage: called with what begins: "words", an input's label such as "voice", "model", "explain".

        Returns:
            Scores in [0, 1] with 80% prediction intervals and percentiles.

        Raises:
            MediaError: the file cannot be used; the message says why.
            UsageError: the window or the step makes no sense.
        """
        started = time.perf_counter()
        begin = on_stage or _tell_nobody
        if every_s is not None:
            return self._predict_windows(
                Path(path), transcript, start_s, end_s, every_s, audio_track, explain, started, begin
            )
        source, notes = _open_window(Path(path), start_s, end_s, audio_track)
        skipped_s = find_first_speech(source) if self._listens and start_s == 0 and end_s is None else 0.0
        if skipped_s:
            source, notes = _open_window(Path(path), skipped_s, None, audio_track)
            notes.insert(0, f"no speech in the first {skipped_s:.1f} s: they are left out; keep them with --end")
        prediction = self._predict_source(source, transcript, explain, started, begin, skipped_s)
        return replace(prediction, warnings=(*notes, *prediction.warnings))

    def _predict_source(
        self,
        source: Source,
        given: str | Path | None,
        explain: bool,
        started: float,
        begin: Callable[[str], None],
        skipped_s: float = 0.0,
    ) -> Prediction:
        seconds: dict[str, float] = {}
        begin("words")
        words, text_notes = self._words(source, given, seconds, source.start_s - skipped_s)
        source.transcript = words.text if words else ""
        inputs = extract_member_features(source, [member.bundle for member in self.members], seconds, begin)
        sound_notes = judge_sound(source) if self._listens else []

        begin("model")
        began = time.perf_counter()
        parts: list[tuple[Member, dict[str, np.ndarray], dict[str, TraitScore]]] = []
        used: list[str] = []
        problems: list[tuple[Member, list[str]]] = []
        for member, its in zip(self.members, inputs, strict=True):
            missing = _missing(member, its.arrays, words)
            if missing:
                problems.append((member, missing))
                continue
            scores, labels = member.score(its.arrays, words)
            parts.append((member, its.arrays, trait_scores(member.bundle, scores, labels)))
            used += labels
        if not parts:
            raise _nothing_to_score(source, problems[0][1], inputs[0].reasons, text_notes)
        seconds["model"] = time.perf_counter() - began

        traits = [entry for *_, entry in parts]
        weights = inverse_variance_weights(traits)
        explanation = None
        if explain:
            begin("explain")
            began = time.perf_counter()
            explanations = [member.explain(arrays, words) for member, arrays, _ in parts]
            explanation = combine_explanations(explanations, weights)
            seconds["explain"] = time.perf_counter() - began
        # Messages name their file; beside the clip's own result that would only be repeated.
        reasons = [line for its in inputs for line in its.reasons.values()]
        warnings = [line.removeprefix(f"{source.path}: ") for line in (*source.warnings, *reasons)]
        warnings += [*sound_notes, *text_notes]
        warnings += [f"{member.bundle.name} left out: it needs {', '.join(names)}" for member, names in problems]
        return Prediction(
            clip=str(source.path),
            traits=_in_order(combine_traits(traits, weights, self._percentile)),
            used=tuple(dict.fromkeys(used)),
            transcript=words.text if words and "words" in used else None,
            warnings=tuple(dict.fromkeys(warnings)),
            seconds={**seconds, "total": time.perf_counter() - started},
            bundle=self._bundle([member for member, *_ in parts]),
            explanation=explanation,
        )

    def _predict_windows(
        self,
        path: Path,
        given: str | Path | None,
        start_s: float,
        end_s: float | None,
        every_s: float,
        audio_track: int | None,
        explain: bool,
        started: float,
        begin: Callable[[str], None],
    ) -> Prediction:
        if not SHORTEST_WINDOW_S <= every_s <= LONGEST_WINDOW_S:
            raise UsageError(f"--every {every_s:g}: give {SHORTEST_WINDOW_S:g} to {LONGEST_WINDOW_S:g} seconds")
        if isinstance(given, str) and not Path(given).suffix:
            raise UsageError("--every needs a timed transcript (.srt or .vtt); a plain text has no times to cut it by")
        end = _checked_end(Source(path), start_s, end_s)
        windows, scored, first_error = [], [], None
        for low, high in _window_bounds(start_s, end, every_s):
            try:
                source = Source(path, low, high, audio_track=audio_track)
                part = self._predict_source(source, given, explain, time.perf_counter(), begin)
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
        self, clip: str, voice_profile: np.ndarray | None, transcript: str | None, *, explain: bool = True
    ) -> Prediction:
        """Score precomputed inputs, no media.

        Args:
            clip: name for the result.
            voice_profile: 26 means in the order of `thinslice.features.voice.VOICE_PROFILE_COLUMNS`, or None.
            transcript: the words, or None.
            explain: whether to compute what moved the scores.

        Raises:
            UsageError: the bundle needs more than these inputs.
            MediaError: both inputs are missing.
        """
        started = time.perf_counter()
        (member, *others) = self.members
        unknown = set(member.bundle.inputs) - {"voice_profile", TRANSCRIPT}
        if others or unknown:
            raise UsageError(f"bundle {member.bundle.name} needs the media itself; --inputs serves {DEFAULT_BUNDLE}")
        if voice_profile is None and not (transcript and transcript.strip()):
            raise MediaError(f"{clip}: neither a voice profile nor a transcript in its row; give one of them")
        features = {} if voice_profile is None else {"voice_profile": voice_profile}
        text = clean_words(transcript or "")
        words = Words(text) if text else None
        notes = [] if voice_profile is None else judge_profile(voice_profile)
        scores, used = member.score(features, words)
        scored_s = time.perf_counter() - started
        return Prediction(
            clip=clip,
            traits=_in_order(trait_scores(member.bundle, scores, used)),
            used=used,
            transcript=text if "words" in used else None,
            warnings=(*notes, *filter(None, [why_not_english(text)])),
            seconds={"model": scored_s, "total": scored_s},
            bundle=self._bundle([member]),
            explanation=member.explain(features, words) if explain else None,
        )

    def _words(
        self, source: Source, given: str | Path | None, seconds: dict[str, float], text_start_s: float
    ) -> tuple[Words | None, list[str]]:
        """Return the words given, found beside the clip or recognised, and what the user should know of them."""
        if not any(reads_words(member) for member in self.members):
            return None, []
        began = time.perf_counter()
        to_the_end = source.end_s is None or source.end_s >= source.info.duration_s
        found = find_transcript(source.path, given, text_start_s, None if to_the_end else source.end_s)
        if found is not None:
            seconds["transcript"] = time.perf_counter() - began
            notes = [*found.notes, *filter(None, [why_not_english(found.text)])]
            return (Words(found.text, source.duration_s) if found.text.strip() else None), notes
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
    if start_s < 0 or end <= start_s:
        raise MediaError(
            f"{source.path}: no clip between {start_s:g} and {end_s if end_s is not None else duration_s:g} s; "
            f"it is {duration_s:.1f} s long"
        )
    if end - start_s < SHORTEST_WINDOW_S:
        raise MediaError(f"{source.path}: {end - start_s:.2f} s is too short; give at least 1 s of speech")
    return end


def _window_bounds(start_s: float, end_s: float, every_s: float) -> list[tuple[float, float]]:
    """Cut a range into windows of `every_s`; a rest shorter than half a window joins the last."""
    count = max(1, int((end_s - start_s) / every_s + 0.5))
    bounds = [start_s + index * every_s for index in range(count)] + [end_s]
    return list(itertools.pairwise(bounds))


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
    return {target: traits[target] for target in TARGETS if target in traits}
