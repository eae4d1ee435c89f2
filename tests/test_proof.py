"""A green run says what it did not test, and leaves nothing else out."""

from pathlib import Path

import pytest

pytest_plugins = "pytester"
CONFTEST = Path(__file__).with_name("conftest.py")


def run(pytester: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    pytester.makeconftest(CONFTEST.read_text("utf-8"))
    pytester.makeini("[pytest]\nmarkers =\n    data: x\n    slow: x\n")
    pytester.makepyfile("import pytest\n" + test)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", *options)


def test_a_skip_that_is_not_permitted_fails_the_run(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_x():\n    pytest.skip('no time today')\n")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*not permitted*no time today*"])


def test_a_run_says_what_it_left_out(pytester: pytest.Pytester) -> None:
    body = "def test_x(real_clips):\n    pass\n\n@pytest.mark.slow\ndef test_y():\n    pass\n"
    result = run(pytester, body)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*1 research data", "*1 slow tests"])
    assert run(pytester, body, "--slow").parseoutcomes() == {"passed": 1, "skipped": 1}


def test_missing_extras_are_permitted_for_the_core_alone(pytester: pytest.Pytester) -> None:
    body = "def test_x():\n    pytest.importorskip('no_such_library')\n"
    assert run(pytester, body).ret == pytest.ExitCode.TESTS_FAILED
    assert run(pytester, body, "--core").ret == pytest.ExitCode.OK
