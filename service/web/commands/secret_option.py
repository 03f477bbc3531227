"""Secrets for commands: from the environment, asked for, or by a pipe; never typed as an argument.

An argument stands in the list of processes and in the shell's history.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource


class SecretOption(click.Option):
    """A secret that the environment holds, else one that is asked for.

    At a terminal it is asked for, unseen; else it is a line of standard input. `needed`: without
    the option on the line, too. The option itself takes no value.
    """

    def __init__(self, names: Sequence[str], needed: bool = False, **options: Any) -> None:
        super().__init__(names, is_flag=True, flag_value='', type=str, **options)
        self.needed = needed

    def consume_value(
        self, ctx: click.Context, opts: Mapping[str, Any]
    ) -> tuple[Any, ParameterSource]:
        if found := self.resolve_envvar_value(ctx):
            return found, ParameterSource.ENVIRONMENT
        if ctx.resilient_parsing or not (self.needed or opts.get(self.name or '') is not None):
            return None, ParameterSource.DEFAULT
        return self._asked_for(ctx), ParameterSource.PROMPT

    def _asked_for(self, ctx: click.Context) -> str:
        if sys.stdin.isatty():
            asked: str = click.prompt(self.opts[0].lstrip('-'), hide_input=True, err=True)
            return asked
        line = sys.stdin.readline().strip()
        if not line:
            sentence = f'is expected on standard input, or in {self.envvar}.'
            raise click.UsageError(f'{self.opts[0]} {sentence}', ctx)
        return line
