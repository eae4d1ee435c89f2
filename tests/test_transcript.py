"""Transcripts: given or beside the clip, in whatever state people keep such files."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinslice.data.first_impressions import load_transcripts
from thinslice.errors import MediaError, UsageError
from thinslice.features.english import why_not_english
from thinslice.features.subtitles import Cue, cut_cues, is_timed, parse_cues
from thinslice.features.transcript import MAX_BYTES, Transcript, clean_words, find_transcript
from thinslice.voice_words.spoken_words import split_words

SRT = "1\n00:00:01,000 --> 00:00:03,000\nHello there\n\n2\n00:00:05,000 --> 00:00:07,000\nGood bye\n"
VTT = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

NOTE this is never said

1
00:01.000 --> 00:02.500 align:start position:0%
<v Mary>Hello &amp; <i>welcome</i>

NOTE
nor is this

last-cue
00:00:03.000 --> 00:00:04.000
[Music]
to the show
"""
ROLLING = """WEBVTT

00:00:00.000 --> 00:00:02.000
so today we are

00:00:02.000 --> 00:00:02.010
so today we are

00:00:02.010 --> 00:00:04.000
so today we are
going<00:00:02.500><c> to</c><00:00:03.000><c> bake</c>

00:00:04.000 --> 00:00:04.010
going to bake

00:00:04.010 --> 00:00:06.000
going to bake
some bread
"""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"not looked at")
    return path


def test_words_given(clip: Path) -> None:
    assert find_transcript(clip, "Hi [laughter] everyone\n") == Transcript("Hi everyone", "given")
    assert find_transcript(clip, "") == Transcript("", "given")
    assert find_transcript(clip, "word " * 30_000).text.count("word") == 30_000
    assert find_transcript(clip, "nul \0 inside").source == "given"
    assert find_transcript(clip, "I wrote it all down in notes.txt").text.endswith("notes.txt")


def test_file_given(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "my words.TXT"
    path.write_text("Hi there")
    for form in (path, str(path)):
        assert find_transcript(clip, form) == Transcript("Hi there", "given", path)


@pytest.mark.parametrize(
    "form",
    [
        "missing.srt",
        "folder/missing.txt",
        Path("missing"),
        "my talk from may.txt",
        "old recordings/my first talk of this year.srt",
        "C:\\Users\\me\\my talk.docx",
        "/home/me/transcripts/talk",
        "./my talk",
        "talk.json",
    ],
)
def test_missing_file_is_not_taken_for_words(clip: Path, form: str | Path) -> None:
    with pytest.raises(UsageError, match="no such transcript file"):
        find_transcript(clip, form)


def test_a_table_given_must_have_times(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "words.tsv"
    path.write_text("start\tend\ttext\n0\t2500\tHi there\n")
    assert find_transcript(clip, path).text == "Hi there"
    path.write_text("clip\topenness\na\t0.5\n")
    with pytest.raises(MediaError, match="no subtitles in it"):
        find_transcript(clip, path)


def test_file_of_another_kind(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "words.docx").write_bytes(b"PK")
    with pytest.raises(UsageError, match="a transcript is a"):
        find_transcript(clip, tmp_path / "words.docx")


def test_nothing_beside(clip: Path) -> None:
    assert find_transcript(clip) is None


@pytest.mark.parametrize(
    "name", ["clip.txt", "clip.srt", "clip.VTT", "clip.en.srt", "clip.en-US.vtt", "clip.mp4.txt", "clip.mp4.srt"]
)
def test_beside(clip: Path, name: str) -> None:
    path = clip.with_name(name)
    path.write_text({"txt": "Hello there Good bye", "srt": SRT, "vtt": "WEBVTT\n\n" + SRT}[name[-3:].lower()])
    assert find_transcript(clip) == Transcript("Hello there Good bye", "file", path)


def test_other_clips_files_are_not_taken(clip: Path) -> None:
    clip.with_name("clip2.txt").write_text("no")
    clip.with_name("clip.de.srt").write_text(SRT)
    (clip.with_name("clip.txt")).mkdir()
    assert find_transcript(clip) is None


def test_window_cuts_timed_words_and_passes_over_untimed_ones(clip: Path) -> None:
    clip.with_suffix(".txt").write_text("all the words of an hour")
    assert find_transcript(clip).text == "all the words of an hour"
    assert find_transcript(clip, start_s=0, end_s=4) is None
    clip.with_suffix(".srt").write_text(SRT)
    assert find_transcript(clip, start_s=0, end_s=4).text == "Hello there"
    assert find_transcript(clip, start_s=2, end_s=6).text == "there Good"
    assert find_transcript(clip, start_s=100).text == ""
    assert find_transcript(clip, "just these", 5, 10).text == "just these"
    assert find_transcript(clip, clip.with_suffix(".srt"), 5, 10).text == "Good bye"


@pytest.mark.parametrize(
    "data",
    [
        SRT.encode(),
        b"\xef\xbb\xbf" + SRT.encode(),
        SRT.replace("\n", "\r\n").encode(),
        SRT.replace("\n", "\r").encode(),
        SRT.encode("utf-16"),
        SRT.replace("Hello there", "{\\an8}<i>Hello</i> <font color='#fff'>there</font>").encode(),
        SRT.replace("1\n", "").replace("2\n", "").encode(),
        SRT.replace(",000", ".0").replace("00:00:", "0:0:").encode(),
        SRT.replace("Hello there", "Hello\n\nthere").encode(),
        SRT.replace("Hello there", "- Hello\nMARY: there (applause)").encode(),
        b"\n\n" + SRT.encode() + b"\n3\n00:00:09,000 --> 00:00:10,000\n\n",
    ],
    ids=[
        "plain",
        "bom",
        "crlf",
        "cr",
        "utf16",
        "tags",
        "no counters",
        "odd times",
        "blank line",
        "labels",
        "empty cue",
    ],
)
def test_srt_in_many_states(clip: Path, data: bytes) -> None:
    clip.with_suffix(".srt").write_bytes(data)
    assert find_transcript(clip).text == "Hello there Good bye"


def test_bad_utf8_is_read_as_windows_1252(clip: Path) -> None:
    clip.with_suffix(".txt").write_bytes(b"\xe9t\xe9 isn\x92t")
    assert find_transcript(clip).text == "été isn’t"


def test_number_said_in_a_cue_is_kept() -> None:
    cues = parse_cues("1\n00:00:01,000 --> 00:00:02,000\n2015\n\n2\n00:00:03,000 --> 00:00:04,000\nwas good\n")
    assert [cue.text for cue in cues] == ["2015", "was good"]


def test_webvtt_leaves_out_all_that_is_not_said(clip: Path) -> None:
    clip.with_suffix(".vtt").write_text(VTT)
    assert find_transcript(clip).text == "Hello & welcome to the show"
    assert [cue.start_s for cue in parse_cues(VTT)] == [1.0, 3.0]


def test_rolling_captions_are_given_once(clip: Path) -> None:
    clip.with_suffix(".vtt").write_text(ROLLING)
    assert find_transcript(clip).text == "so today we are going to bake some bread"


def test_short_repeats_are_speech() -> None:
    srt = "1\n00:00:01,000 --> 00:00:02,000\nNo.\n\n2\n00:00:02,000 --> 00:00:03,000\nNo.\n"
    assert [cue.text for cue in parse_cues(srt)] == ["No.", "No."]


def test_subtitles_under_the_name_of_a_text(clip: Path) -> None:
    clip.with_suffix(".txt").write_text(SRT)
    assert find_transcript(clip, start_s=4).text == "Good bye"


@pytest.mark.parametrize(
    ("suffix", "data"),
    [(".txt", b""), (".srt", b" \n"), (".vtt", b"WEBVTT\n"), (".txt", b"[Music]"), (".txt", b"start\tend\ttext\n")],
)
def test_a_file_without_words_says_that_nothing_is_said(clip: Path, suffix: str, data: bytes) -> None:
    clip.with_suffix(suffix).write_bytes(data)
    assert find_transcript(clip).text == ""


@pytest.mark.parametrize(
    ("suffix", "data", "message"),
    [
        (".txt", bytes(range(256)) * 40, "not a text file"),
        (".srt", b"\x00\x00\x00\x18ftypmp42" + b"\0" * 200, "not a text file"),
        (".srt", b"just some words", "no subtitles in it"),
        (".txt", b"a " * (MAX_BYTES // 2 + 1), "too long for a transcript"),
    ],
)
def test_unusable_files(clip: Path, suffix: str, data: bytes, message: str) -> None:
    path = clip.with_suffix(suffix)
    path.write_bytes(data)
    with pytest.raises(MediaError, match=message) as raised:
        find_transcript(clip)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_annotations_go_and_asides_stay() -> None:
    text = "[inaudible 00:00:46] I went (as always) home (laughs) ♪ la la ♪ now <3 (speaking Spanish)"
    assert clean_words(text) == "I went (as always) home now <3"


@given(st.text(max_size=300))
@settings(max_examples=200)
def test_any_text_can_be_read(text: str) -> None:
    assert clean_words(clean_words(text)).count("\n") == 0
    for cue in parse_cues(SRT + text):
        assert cue.end_s >= cue.start_s
        assert cue.text.strip()
    assert is_timed(SRT + text)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 20), st.integers(1, 8)), max_size=8), st.floats(0.5, 20))
@settings(max_examples=100)
def test_windows_that_touch_share_out_every_word_once(spans: list[tuple[float, float, int]], every_s: float) -> None:
    cues = [
        Cue(start_s, start_s + length_s, " ".join(f"{number}.{word}" for word in range(num_words)))
        for number, (start_s, length_s, num_words) in enumerate(spans)
    ]
    words = cut_cues(cues, 0, None).split()
    assert len(words) == sum(num_words for _, _, num_words in spans)
    parts: list[str] = []
    for index in range(int(71 / every_s) + 1):
        parts += cut_cues(cues, index * every_s, (index + 1) * every_s).split()
    assert sorted(parts) == sorted(words)


def test_hostile_input_takes_no_time(clip: Path) -> None:
    hostile = SRT + "<" * 30_000 + "[" * 30_000 + "(" * 30_000 + "{\\" * 20_000 + "♪" * 10_001 + "&" * 30_000
    clip.with_suffix(".srt").write_text(hostile)
    began = time.process_time()
    assert find_transcript(clip).text.startswith("Hello there Good bye")
    assert clean_words(" " * 200_000 + "\n " * 20_000 + "hi") == "hi"
    assert time.process_time() - began < 5  # processor seconds: what else runs does not count


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ann Lee: Hello there. How are you?", "Hello there. How are you?"),
        ("Ann Lee: Hi.\nBob: Good morning.\nAnn Lee: Bye.", "Hi. Good morning. Bye."),
        ("Ann Lee: Hi. Bob Roe: Hello. I said: yes", "Hi. Hello. I said: yes"),
        ("Interviewer: what do you do? Interviewee: I bake.", "what do you do? I bake."),
        ("SPEAKER_00: hello\nSPEAKER_01: hi", "hello hi"),
        ("Élodie Durand (host): hello", "hello"),
        ("Speaker 2  0:03\nHello everyone\n\nAnn Lee  0:09\nHi", "Hello everyone Hi"),
        ("Ann Lee 0:03 Hello there. Bob Roe 0:09 Hi you", "Hello there. Hi you"),
        ("0:03\nhello everyone\n0:05\nwelcome back", "hello everyone welcome back"),
        ("12:01 hi\n12:05 there", "hi there"),
        ("[00:03:12] Ann: hi", "hi"),
        ("00:00:03 hello 00:00:05 there", "hello there"),
        ("Ann Lee (00:12): hi there", "hi there"),
        ("Ann Lee\n0 minutes 3 seconds\nhi\nBob Roe 1 hour 1 minute 13 seconds\nthere", "hi there"),
        ("Ann Lee\n0 minutes 3 seconds0:03\nhi there", "hi there"),
        ("Lee, Ann   0:03\nhi\nRoe, Bob   0:13\nthere", "hi there"),
        ("Ann Lee  0:03\nhi there\n\nTranscribed by https://otter.ai", "hi there"),
        ("0:00:01.000,0:00:03.000\nhi\n\n0:00:03.500,0:00:05.000\nthere", "hi there"),
        ("0:01\n1 second\nhi\n1:03\n1 minute, 3 seconds\nthere", "hi there"),
        ("[00:00:03] Ann Lee: hi [00:00:13] Bob: there", "hi there"),
        ("**Ann Lee:** [00:00:03] hi\n\n__Bob__ (00:05): there", "hi there"),
        ("A: hi\nB: there", "hi there"),
        ("I: hi #00:00:03-5#\nB1: there #00:00:13-5#", "hi there"),
        ("Prof. Bob-Jan van der Roe: hi there", "hi there"),
        ("\u202bAnn\u00a0Lee:\u202c hi there", "hi there"),
        ("00:00:05\tJane Doe:\thi\n00:01:05\tbob:\tthere", "hi there"),
        ("00:00:05\t From Jane Doe to Everyone: hi\n10:15:32 From bob to jane(Direct Message):\n\tthere", "hi there"),
        ("ann: hi there\nbob lee: hello\nann: bye", "hi there hello bye"),
        ("[00:03] ann: hi\n[00:05] ann: there", "hi there"),
        ("0:03hi\n0:05there", "hi there"),
        ("00:03hi 00:05there", "hi there"),
        ("hi00:03\nthere00:05", "hi there"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_names_and_times_of_meetings_are_no_words(clip: Path, text: str, words: str, line_end: str) -> None:
    text = text.replace("\n", line_end)
    assert clean_words(text) == words
    assert find_transcript(clip, text).text == words


@pytest.mark.parametrize(
    "text",
    [
        "So: this is it",
        "Look: it works",
        "note: this is it",
        "note: this is it note: that too",
        "ingredients: eggs and flour",
        "5:30am I get up and 6:15am I run and 7:30ish I eat",
        "The Hunger Games: a film that I love",
        "8:15. You have seven to eight to just relax",
        "5:30 is when I get up, and 6:15 is when I run",
        "I have one thing to say: stop",
        "This is Ann: she bakes",
        "Hi Bob",
        "Speaker",
        "well-known people - like me",
        "I have 10 minutes and 3 seconds left",
        "3 seconds",
        "It was transcribed by hand",
    ],
)
def test_speech_that_looks_a_little_like_labels_stays(text: str) -> None:
    assert clean_words(text) == text


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("0:0:0.0 --> 0:0:5.2\nAnn Lee\nHello there\n\n0:0:5.2 --> 0:0:7.1\nRoe, Bob\nGood bye\n", "Hello there"),
        ("0:0:0.0 --> 0:0:5.2 Hello there\n0:0:5.2 --> 0:0:7.1 Good bye\n", "Hello there"),
        ("start\tend\ttext\n0\t5200\tHello there\n5200\t7100\t Good bye\n", "Hello there"),
        ("{1}{1}10\n{0}{52}{y:i}Hello|there\n{52}{71}Good bye\n", "Hello there"),
        ("{0}{130}Hello|there\n{130}{177}Good bye\n", "Hello there"),
        ("[0][52]/Hello|there\n[52][71]Good bye\n", "Hello there"),
        ("0.000000\t5.200000\tHello there\n5.200000\t7.100000\tGood bye\n", "Hello there"),
    ],
    ids=["teams", "one line", "whisper", "microdvd", "microdvd at 25", "mpl2", "audacity"],
)
def test_other_programs_times_are_read_and_no_words(clip: Path, text: str, first: str) -> None:
    clip.with_suffix(".txt").write_text(text, newline="\r\n")
    assert find_transcript(clip).text == "Hello there Good bye"
    assert find_transcript(clip, start_s=0, end_s=5.2).text == first


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"text": "hello", "segments": []}', "JSON"),
        ("<?xml version='1.0'?><tt><p begin='1s'>hello</p></tt>", "XML"),
        ("[Script Info]\nTitle: a\n\n[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,hello", "SubStation"),
    ],
)
def test_a_file_of_data_is_not_taken_for_words(clip: Path, text: str, kind: str) -> None:
    clip.with_suffix(".txt").write_text(text)
    with pytest.raises(MediaError, match=f"clip.txt: is {kind}, not words; convert it to .srt or .txt"):
        find_transcript(clip)


def test_labels_in_cues_are_no_words(clip: Path) -> None:
    srt = SRT.replace("Hello there", "Ann Lee: Hello there").replace("Good bye", "Speaker 2: Good bye")
    clip.with_suffix(".srt").write_text(srt)
    assert find_transcript(clip).text == "Hello there Good bye"


def test_a_cue_that_starts_before_the_clip_is_heard_and_reported(clip: Path) -> None:
    clip.with_suffix(".srt").write_text(SRT.replace("00:00:01,000", "-00:00:01,500"))
    found = find_transcript(clip)
    assert found.text == "Hello there Good bye"
    assert found.notes == ("cues that start before 0 s are taken to start at 0: 1 of the transcript's 2",)
    assert find_transcript(clip, start_s=0, end_s=4).text == "Hello there"


@pytest.mark.parametrize(
    "text",
    [
        "Hallo zusammen, heute möchte ich euch zeigen, wie ich jeden Morgen mein Frühstück mache",
        "Bonjour à tous, aujourd'hui je veux vous montrer comment je fais mon petit déjeuner",
        "Hola a todos, hoy quiero mostrarles cómo hago mi desayuno todas las mañanas",
        "Cześć wszystkim, dzisiaj chcę wam pokazać, jak robię śniadanie każdego ranka",
        "Всем привет",
        "大家好，今天我想",
        "सभी को नमस्कार",
    ],
)
def test_other_languages_are_reported(text: str) -> None:
    assert "English" in why_not_english(text)


def test_english_is_not_reported(real_data: Path) -> None:
    texts = load_transcripts(real_data / "transcription_training.pkl").values()
    assert not [text for text in texts if why_not_english(clean_words(text))]
    changed = [text for text in texts if _spoken(text) != _spoken(clean_words(text))]
    assert len(changed) < 0.005 * len(texts)


def _spoken(text: str) -> list[str]:
    return [word.text for word in split_words(text)]


@pytest.mark.parametrize("text", ["", "Hello!", "café naïve résumé", "OK 2015", "So this is how I make my breakfast"])
def test_short_english_is_not_reported(text: str) -> None:
    assert why_not_english(text) == ""
