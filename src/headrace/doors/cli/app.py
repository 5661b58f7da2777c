"""The Typer application: names, help and options. Each command lives in the file it is imported from."""

import sys

import typer
from typer.exceptions import TyperException

from headrace import __version__
from headrace.doors.cli import cluster, declare, inspect, models, operate, resources
from headrace.doors.cli.reset import register as register_reset
from headrace.doors.cli.search import EPILOG as SEARCH_EPILOG
from headrace.doors.cli.search import search
from headrace.doors.cli.sql import EPILOG as SQL_EPILOG
from headrace.doors.cli.sql import sql_command
from headrace.foundation.errors import HeadraceError

EPILOG = (
    "Exit codes: 0 done · 1 failed · 2 invalid declaration, query or option · 4 not found · "
    "5 state directory in use, or written by a newer version · 6 fenced by another process · 7 server or disk unavailable · "
    "130 interrupted."
)

app = typer.Typer(
    name="headrace",
    help="Turns live event streams into small models that keep learning, declared in YAML.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Prints the version.")) -> None:
    if version:
        typer.echo(f"headrace {__version__}")
        raise typer.Exit


declare.register(app)
resources.register(app)
register_reset(app)
operate.register(app)
inspect.register(app)
models.register(app)
cluster.register(app)
app.command("search", epilog=SEARCH_EPILOG)(search)
app.command("sql", epilog=SQL_EPILOG)(sql_command)


def main() -> None:
    """The console script."""
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except TyperException as error:
        show = getattr(error, "show", None)  # errors of the command line bring usage and a hint
        show() if show else sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except HeadraceError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
