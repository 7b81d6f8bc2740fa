"""Commands about one instance: its domain stands first, or is named as a cozy-stack's command line does."""

import os
from typing import Any

import click

VARIABLE = "COZY_DOMAIN"


class OfInstance(click.Command):
    """A command whose argument DOMAIN may be given by `--domain DOMAIN`, or by `COZY_DOMAIN` in the environment."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The domain goes where the argument stands."""
        if not any(isinstance(one, click.Argument) and one.name == "domain" for one in self.params):
            return super().parse_args(ctx, args)
        named, rest = _taken_out(ctx, args)
        if named is not None:
            return super().parse_args(ctx, [named, *rest])
        if os.environ.get(VARIABLE):
            try:
                return super().parse_args(ctx, [os.environ[VARIABLE], *args])
            except click.UsageError:
                ctx.params.clear()
        return super().parse_args(ctx, args)


ALIASES = {"ls": "list", "uninstall": "remove", "rm": "remove", "flags": "set"}
"""cozy-stack's names of commands that are called otherwise here."""


class InstanceGroup(click.Group):
    """Commands about one instance; cozy-stack's names of them work too."""

    command_class = OfInstance

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name, or by cozy-stack's."""
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))


def _taken_out(ctx: click.Context, args: list[str]) -> tuple[str | None, list[str]]:
    """What `--domain` names, and the other arguments.

    :raises click.UsageError: it names nothing.
    """
    rest: list[str] = []
    named: str | None = None
    given: Any = iter(args)
    for one in given:
        if one == "--":
            return named, [*rest, one, *given]
        if one == "--domain":
            named = next(given, None)
            if named is None:
                raise click.UsageError("Option '--domain' requires an argument.", ctx)
        elif one.startswith("--domain="):
            named = one.removeprefix("--domain=")
        else:
            rest.append(one)
    return named, rest
