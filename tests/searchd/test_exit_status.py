"""What a command ends with: the status that it was given, for the owner's scripts and CI."""

from __future__ import annotations

import click
import pytest

from searchd.__main__ import run_command


@pytest.mark.parametrize("status", [0, 1, 3])
def test_the_status_that_a_command_exits_with_is_the_program_s(status: int) -> None:
    @click.command()
    @click.pass_context
    def ends(context: click.Context) -> None:
        context.exit(status)

    assert run_command(lambda: ends([], standalone_mode=False), "searchd") == status
