"""What all command lines share: how errors are told, where options come from, how a role runs until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
import time
import tomllib
import traceback
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol

import click

from fedcoin import __version__
from fedcoin.core.errors import ConfigFileInvalid, FedCoinError, OutputNotWritable

USAGE = 2
"""Exit status of a command line that makes no sense."""
INTERRUPTED = 130
"""Exit status after Ctrl-C."""

_LOG_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s %(message)s"
_NOT_CONFIGURABLE = {"config", "debug", "help", "version"}


class _Reporting(click.Command):
    """Errors as one line on standard error and an exit status: 1, or 2 for a wrong command line; never a traceback."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """As click's, with FedCoin's way to report errors."""
        words = list(sys.argv[1:] if args is None else args)
        try:
            status = super().main(words, prog_name, complete_var, standalone_mode=False, **extra)
        except click.UsageError as error:
            error.show()
            status = USAGE
        except click.ClickException as error:
            status = _say("INPUT", error.format_message())
        except (click.Abort, KeyboardInterrupt):
            click.echo("stopped", err=True)
            status = INTERRUPTED
        except FedCoinError as error:
            status = _say(error.code, error.message, "--debug" in words)
        except OSError as error:
            status = _say("SYSTEM", str(error), "--debug" in words)
        except Exception as error:  # the last resort: a person never sees a bare traceback
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            status = _say("INTERNAL", f"{what} (a fault in FedCoin; --debug shows where)", "--debug" in words)
        if not standalone_mode:
            return status
        sys.exit(status if isinstance(status, int) else 0)


def _say(code: str, message: str, with_traceback: bool = False) -> int:
    if with_traceback:
        traceback.print_exc()
    click.echo(f"error [{code}]: {' '.join(message.split())}", err=True)
    return 1


class Command(_Reporting):
    """A program without subcommands."""


class Group(_Reporting, click.Group):
    """A program with subcommands."""


# --- options that every program has ----------------------------------------------------------------------------------


def _load_config(ctx: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
    if value is not None:
        ctx.default_map = {**(ctx.default_map or {}), **read_config(value, ctx.command)}
    return value


def read_config(path: Path, command: click.Command) -> dict[str, Any]:
    """Defaults for `command` from a TOML file: options by name, subcommands as tables. Raises ConfigFileInvalid."""
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFileInvalid(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # besides TOMLDecodeError: integers and nesting beyond Python's limits
        raise ConfigFileInvalid(f"{path} is no TOML: {error}") from error
    return _checked(settings, command, path, "")


def _checked(settings: dict[str, Any], command: click.Command, path: Path, where: str) -> dict[str, Any]:
    options = {_flag(param): param for param in command.params if isinstance(param, click.Option)}
    subcommands = command.commands if isinstance(command, click.Group) else {}
    checked: dict[str, Any] = {}
    for key, value in settings.items():
        name = key.replace("_", "-")
        if key in subcommands and isinstance(value, dict):
            checked[key] = _checked(value, subcommands[key], path, f"{where}{key}.")
        elif name in options and name not in _NOT_CONFIGURABLE:
            if isinstance(value, dict) or (isinstance(value, list) and not options[name].multiple):
                raise ConfigFileInvalid(f"{path}: {where}{key} must be a single value")
            single = options[name].multiple and not isinstance(value, list)
            checked[options[name].name or name] = [value] if single else value
        else:
            known = sorted({*set(options) - _NOT_CONFIGURABLE, *subcommands})
            raise ConfigFileInvalid(f"{path}: there is no setting {where + key!r}; known are {', '.join(known)}")
    return checked


def _flag(option: click.Option) -> str:
    """`peer` of an option --peer."""
    return next((text[2:] for text in option.opts if text.startswith("--")), option.name or "")


def name_environment(command: click.Command, prefix: str) -> None:
    """Lets every option of a program and its subcommands come from <prefix>_<OPTION>, named like the flag.

    A variable that an option has already, such as FEDCOIN_NODE, stays and comes second.
    """
    for param in command.params:
        if isinstance(param, click.Option) and _flag(param) not in _NOT_CONFIGURABLE:
            others = [param.envvar] if isinstance(param.envvar, str) else list(param.envvar or ())
            param.envvar = [f"{prefix}_{_flag(param)}".replace("-", "_").upper(), *others]
    for name, subcommand in command.commands.items() if isinstance(command, click.Group) else ():
        name_environment(subcommand, f"{prefix}_{name}")


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--config, --debug and --version."""
    for option in (
        click.version_option(__version__, prog_name="fedcoin"),
        click.option("--debug", is_flag=True, expose_value=False, help="Show where an error came from."),
        click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            callback=_load_config,
            is_eager=True,
            expose_value=False,
            envvar="FEDCOIN_CONFIG",
            help="TOML file with defaults for these options, named as here without the dashes in front.",
        ),
    ):
        function = option(function)
    return function


# --- running a role --------------------------------------------------------------------------------------------------


class Role(Protocol):
    """A node that the role programs run."""

    async def start(self) -> None: ...
    async def failure(self) -> None:
        """Raises what makes it impossible to go on; otherwise waits."""

    async def stop(self) -> None: ...

    @property
    def address(self) -> str:
        """HOST:PORT on which it listens."""


def role_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--log-level, --ready-file and the hidden --until-eof."""
    for option in (
        until_eof_option,
        click.option(
            "--ready-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Write HOST:PORT to this file once the node listens.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
            default="info",
            show_default=True,
            help="How much to log to standard error.",
        ),
    ):
        function = option(function)
    return function


def setup_logging(level: str) -> None:
    """One line an event, on standard error: time, level, part, message."""
    logging.basicConfig(level=level.upper(), format=_LOG_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S", stream=sys.stderr)
    if level.lower() != "debug":
        logging.getLogger("asyncio").setLevel(logging.ERROR)


def run_role(open_role: Callable[[], Role], ready_file: Path | None, until_eof: bool) -> None:
    """Start a role, say `listening on HOST:PORT`, and stop it cleanly on SIGTERM or SIGINT.

    `open_role` is called within the event loop. A second signal ends the process at once.
    """
    asyncio.run(_run_role(open_role, ready_file, until_eof))


def raise_file_limit() -> None:
    """As many open files as the system allows the process: each connection is one, and the database needs its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run_role(open_role: Callable[[], Role], ready_file: Path | None, until_eof: bool) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = 0

    def stop() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            os._exit(INTERRUPTED)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if until_eof:
        loop.add_reader(sys.stdin.fileno(), _when_drained, loop, stopping.set)
    raise_file_limit()
    role = open_role()
    work = asyncio.ensure_future(_serve(role, ready_file))
    waiting = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        logging.getLogger("fedcoin").info("stopping")
    finally:
        work.cancel()
        waiting.cancel()
        await asyncio.gather(work, waiting, return_exceptions=True)
        await role.stop()


async def _serve(role: Role, ready_file: Path | None) -> None:
    await role.start()
    click.echo(f"listening on {role.address}")
    if ready_file is not None:
        write_text(ready_file, role.address + "\n")
    await role.failure()


def _when_drained(loop: asyncio.AbstractEventLoop, stop: Callable[[], object]) -> None:
    """Reads what is there on standard input; calls `stop` at its end."""
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stop()


def until_eof_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The hidden --until-eof."""
    return click.option(
        "--until-eof",
        is_flag=True,
        hidden=True,
        help="Stop when standard input is closed, so that the process does not outlive the one that started it.",
    )(function)


def run_until_stopped(work: Coroutine[Any, Any, Any], until_eof: bool = False) -> Any:
    """The result of `work`, which SIGTERM and SIGINT cancel, so that it can clean up. Raises click.Abort then."""

    async def guarded() -> Any:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        if until_eof:
            loop.add_reader(sys.stdin.fileno(), _when_drained, loop, task.cancel)
        return await task

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError as error:
        raise click.Abort from error


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def write_text(path: Path, text: str) -> None:
    """Write a file at once, so that a reader never sees half of it. Raises OutputNotWritable."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """As write_text, for bytes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        raise OutputNotWritable(f"{path} cannot be written: {error.strerror or error}") from error
