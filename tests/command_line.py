"""The command line called within the test's own process."""

from click.testing import CliRunner

from thinslice.cli import cli
from thinslice.errors import ThinsliceError


def run(*args: object) -> tuple[int, str, str]:
    """Return exit code, stdout, stderr, as `thinslice.cli.main` would."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    if isinstance(result.exception, ThinsliceError):
        return 2, result.stdout, f"{result.stderr}thinslice: {result.exception}"
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
