"""The scripts as commands: called in this process, good, or refused."""

from click.testing import CliRunner


def call(script, *arguments):
    return CliRunner().invoke(script.main, [str(a) for a in arguments])


def good(script, *arguments):
    result = call(script, *arguments)
    assert result.exit_code == 0, result.output


def refused(result, *words):
    """Exit code 2 and one line that says these words."""
    assert result.exit_code == 2, result.output
    line = result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert all(word in line for word in words), line
