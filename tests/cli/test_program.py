"""How command lines take their settings and report what is wrong: one line, a status, no traceback."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fedcoin.cli.amounts import AMOUNT
from fedcoin.cli.program import Command, Group, common_options, name_environment
from fedcoin.core.errors import InsufficientFunds

ROOT = Path(__file__).resolve().parents[2]


@click.command(cls=Command)
@click.option("--port", type=int, default=1)
@click.option("--peer", "peers", multiple=True)
@click.option("--amount", type=AMOUNT, default="1")
@click.option("--fail", default="")
@common_options
def program(port: int, peers: tuple[str, ...], amount: int, fail: str) -> None:
    if fail == "fedcoin":
        raise InsufficientFunds("the account holds\n1 unit")
    if fail == "bug":
        raise KeyError("x")
    click.echo(f"{port} {','.join(peers)} {amount}")


name_environment(program, "FEDCOIN_TRIAL")


@click.group(cls=Group)
@common_options
def group() -> None:
    pass


group.add_command(program, "trial")


def run(*words: object, command: click.Command = program, **env: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, [str(word) for word in words], env=env)
    return result.exit_code, result.output


def test_settings_come_from_file_then_environment_then_flags(tmp_path: Path) -> None:
    file = tmp_path / "trial.toml"
    file.write_text('port = 2\npeer = ["a:1", "b:2"]\namount = "0.5"\n')
    assert run() == (0, "1  100000000\n")
    assert run("--config", file) == (0, "2 a:1,b:2 50000000\n")
    assert run("--config", file, FEDCOIN_TRIAL_PORT="3") == (0, "3 a:1,b:2 50000000\n")
    assert run("--config", file, "--port", 4, FEDCOIN_TRIAL_PORT="3") == (0, "4 a:1,b:2 50000000\n")


def test_a_subcommand_has_a_table_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "fedcoin.toml"
    file.write_text("[trial]\nport = 7\n")
    assert run("--config", file, "trial", command=group) == (0, "7  100000000\n")
    file.write_text("[trial]\nprot = 7\n")
    code, output = run("--config", file, "trial", command=group)
    assert code == 1
    assert "error [CONFIG_FILE_INVALID]" in output
    assert "'trial.prot'" in output


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("prot = 2\n", "'prot'"),
        ("port = \n", "is no TOML"),
        ("port = [1, 2]\n", "port must be a single value"),
        ("config = 'x'\n", "'config'"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_the_file_and_the_key(tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "trial.toml"
    file.write_text(content)
    code, output = run("--config", file)
    assert code == 1
    assert output.startswith("error [CONFIG_FILE_INVALID]: ")
    assert str(file) in output
    assert named in output


def test_money_in_a_file_is_never_a_float(tmp_path: Path) -> None:
    file = tmp_path / "trial.toml"
    file.write_text("amount = 0.5\n")
    code, output = run("--config", file)
    assert code == 2
    assert "in quotes" in output


def test_an_error_is_one_line_with_its_code_and_status_1() -> None:
    assert run("--fail", "fedcoin") == (1, "error [INSUFFICIENT_FUNDS]: the account holds 1 unit\n")


def test_a_fault_of_ours_shows_a_traceback_only_with_debug() -> None:
    code, output = run("--fail", "bug")
    assert code == 1
    assert output.startswith("error [INTERNAL]: KeyError")
    assert output.count("\n") == 1
    assert "Traceback" in run("--fail", "bug", "--debug")[1]


def test_a_wrong_option_is_status_2() -> None:
    code, output = run("--prt", "1")
    assert code == 2
    assert "--port" in output


@pytest.mark.parametrize("name", ["fedcoin", "fedcoin-miner", "fedcoin-server", "fedcoin-client"])
def test_each_executable_explains_itself_and_hides_tracebacks(name: str) -> None:
    script = [sys.executable, str(ROOT / "cmd" / name)]
    told = subprocess.run([*script, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0
    assert "Usage:" in told.stdout
    assert "--config" in told.stdout
    wrong = subprocess.run(
        [*script, "--config", "/nonexistent.toml"], capture_output=True, text=True, timeout=60, check=False
    )
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error [CONFIG_FILE_INVALID]: ")
    assert "Traceback" not in wrong.stderr
