"""What both programs, `searchd` and `indexer`, do around a command line: all can be printed, errors are a line and a status.

Their roofs hand over a click command; `terminal.py` has what the commands themselves share.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import signal
import sys
from collections.abc import Callable
from types import FrameType

import click
from rich.markup import escape

from indexer.errors import ConfigError, InputError, SearchdError, StaleIndex
from searchd.terminal import console

_NOT_DECODED = re.compile("[\udc80-\udcff]")
"""What Python makes of bytes of the command line that are no UTF-8."""
_AS_JSON = "searchd.as-json"
"""The name of how characters are written that standard output's encoding lacks."""


class Terminated(SystemExit):
    """SIGTERM came: the command ends as by Ctrl-C, and what it would not leave behind goes."""


def run_program(cli: click.Command, program: str) -> None:
    """Run a program's command line, and end the process."""
    print_anything()
    end_in_order()
    sys.exit(run_command(lambda: cli(standalone_mode=False), program))


def print_anything() -> None:
    """Have standard output write what its encoding lacks as `\\u00e9`, which JSON reads as the same: LANG=C may lack most.

    UTF-8 lacks nothing but what was no UTF-8 on the command line, which `run_command` tells of.
    """
    codecs.register_error(_AS_JSON, _as_json)
    if isinstance(sys.stdout, io.TextIOWrapper) and codecs.lookup(sys.stdout.encoding).name != "utf-8":
        sys.stdout.reconfigure(errors=_AS_JSON)


def _as_json(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def end_in_order() -> None:
    """Have SIGTERM raise Terminated in the main thread, once; a command that ends by itself replaces this (`serve`)."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # `timeout` sends it twice, and the second would interrupt the ending
    raise Terminated(128 + number)


def run_command(command: Callable[[], object], program: str) -> int:
    """Run a click command; errors made on purpose become one line. Return the exit status."""
    try:
        ended = command()
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except Terminated as error:
        _say(program, "ended by SIGTERM")
        return int(str(error.code))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except UnicodeEncodeError as error:
        if not _NOT_DECODED.search(error.object):
            raise
        _say(program, f"{error.object[:80]!r} is no UTF-8, which names and texts have to be")
        return 2
    except SearchdError as error:
        _say(program, str(error))
        return 2 if isinstance(error, InputError | ConfigError | StaleIndex) else 1
    return (
        ended if isinstance(ended, int) else 0
    )  # outside its standalone mode, click returns what `context.exit` was given


def _say(program: str, said: str) -> None:
    console.print(f"{program}: {escape(said)}", highlight=False, soft_wrap=True)
