"""What people and other programs write as text: JSON, key files, genesis files, TOML, addresses, amounts."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedcoin.cli.amounts import AMOUNT, format_amount, parse_amount
from fedcoin.cli.miner import main as miner_program
from fedcoin.cli.params import DIFFICULTY, RATIO, SHARES
from fedcoin.cli.program import read_config
from fedcoin.core import bech32
from fedcoin.core.encoding import Struct
from fedcoin.core.errors import (
    AmountMalformed,
    FedCoinError,
    InvalidAddress,
    InvalidGenesis,
    InvalidPeerAddress,
    MalformedEncoding,
)
from fedcoin.core.genesis import GENESIS
from fedcoin.core.keys import PrivateKey, format_address, parse_address
from fedcoin.core.params import MAX_SUPPLY
from fedcoin.ledger.genesis import genesis_state
from fedcoin.node.genesis_file import GenesisFile, load_genesis, write_genesis
from fedcoin.node.json_values import from_json, read_hex, to_json
from fedcoin.node.key_file import inspect_key_file, read_key_file, write_key_file
from fedcoin.rpc.address import is_address, split_address
from fedcoin.rpc.paging import make_token, read_token
from tests.fuzz.json_strategies import ANYTHING, spoilt
from tests.fuzz.profile import profile
from tests.fuzz.strategies import all_structs, mutated, structs

STRUCTS = all_structs()
KEY = PrivateKey(b"\x07" * 32)


@pytest.mark.parametrize("struct", STRUCTS.values(), ids=STRUCTS)
def test_json_is_read_back_or_refused(struct: Struct[Any]) -> None:
    @profile(6)
    @given(structs(struct))
    def same(value: Any) -> None:
        assert from_json(struct, json.loads(json.dumps(to_json(struct, value)))) == value

    @profile(15)
    @given(spoilt(structs(struct).map(lambda value: to_json(struct, value))) | ANYTHING)
    def refused(document: Any) -> None:
        try:
            value = from_json(struct, document)
        except MalformedEncoding:
            return
        assert struct.decode(struct.encode(value)) == value

    same()
    refused()


@profile(60)
@given(structs(GENESIS))
def test_a_genesis_starts_a_chain_or_is_refused(genesis: Any) -> None:
    try:
        genesis_state(genesis)
    except InvalidGenesis:
        return


@pytest.fixture(scope="module")
def genesis_text(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from fedcoin.core.genesis import Allocation
    from fedcoin.node.chain_defaults import DEFAULT_PARAMS
    from fedcoin.node.genesis_file import make_genesis

    miners = [PrivateKey(bytes([number]) * 32) for number in (1, 2)]
    allocations = [Allocation(key.address, 10**12) for key in miners]
    made: GenesisFile = make_genesis(DEFAULT_PARAMS, allocations, [key.public_key for key in miners], 10**12)
    path = tmp_path_factory.mktemp("genesis") / "genesis.json"
    write_genesis(path, made)
    return path.read_bytes()


def test_a_genesis_file_is_read_or_refused(genesis_text: bytes, tmp_path: Path) -> None:
    path, document = tmp_path / "genesis.json", json.loads(genesis_text)

    def read() -> None:
        try:
            load_genesis(path)
        except FedCoinError:
            return

    @profile(60)
    @given(spoilt(st.just(document)))
    def spoilt_document(data: Any) -> None:
        path.write_text(json.dumps(data), encoding="utf-8")
        read()

    @profile(40)
    @given(mutated(st.just(genesis_text)) | st.binary(max_size=60))
    @example(b"[" * 100_000)
    @example(b'{"version": ' + b"9" * 5000 + b"}")
    def spoilt_bytes(data: bytes) -> None:
        path.write_bytes(data)
        read()

    spoilt_document()
    spoilt_bytes()


@pytest.mark.parametrize("passphrase", [None, "word"])
def test_a_key_file_is_read_or_refused(passphrase: str | None, tmp_path: Path) -> None:
    original, path = tmp_path / "key.json", tmp_path / "spoilt.json"
    write_key_file(original, KEY, passphrase, plain=passphrase is None, scrypt_n=2)
    assert read_key_file(original, passphrase).secret == KEY.secret
    text = original.read_bytes()

    def read() -> None:
        for use in (inspect_key_file, lambda file: read_key_file(file, "word")):
            try:
                use(path)
            except FedCoinError:
                continue

    @profile(80)
    @given(spoilt(st.just(json.loads(text))))
    @example({**json.loads(text), "scrypt": {"n": 2**20 + 1, "r": 8, "p": 1, "salt": ""}})
    def spoilt_document(data: Any) -> None:
        path.write_text(json.dumps(data), encoding="utf-8")
        read()

    @profile(100)
    @given(mutated(st.just(text)) | st.binary(max_size=60))
    @example(b"[" * 10_000)
    def spoilt_bytes(data: bytes) -> None:
        path.write_bytes(data)
        read()

    spoilt_document()
    spoilt_bytes()


TOML = b'listen = "127.0.0.1:0"\npeer = ["a:1", "b:2"]\naudit-share = 0.5\nmempool = 10\nmine = true\n'


def test_a_configuration_file_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"

    @profile(80)
    @given(mutated(st.just(TOML)) | st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
    @example(b"mempool = " + b"[" * 1500)
    @example(b"mempool = " + b"1" * 5000)
    @example(b"listen = 1979-05-27T07:32:00\n")
    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read_config(path, miner_program)
        except FedCoinError:
            return

    check()


WORDS = st.text(max_size=100) | st.text("fcb1qpzry9x8gf2tvdw0s3jn54khce6mua7lFC", max_size=60)


@profile(100)
@given(mutated(st.just(format_address(KEY.address).encode())).map(lambda data: data.decode(errors="replace")) | WORDS)
def test_an_address_is_right_or_refused(text: str) -> None:
    try:
        data = parse_address(text)
    except InvalidAddress:
        return
    assert format_address(data) == text.strip().lower()


@profile(100)
@given(st.text(string.ascii_lowercase, min_size=1, max_size=10), st.binary(max_size=30))
def test_bech32_reads_what_it_has_written(prefix: str, data: bytes) -> None:
    assert bech32.decode(prefix, bech32.encode(prefix, data)) == data


@profile(100)
@given(st.integers(0, MAX_SUPPLY))
def test_an_amount_is_read_as_it_is_shown(units: int) -> None:
    assert parse_amount(format_amount(units)) == units


NUMBERS = st.text(string.digits + " .,:/-+eE_fdcunitsFDC\n٣", max_size=25)


@profile(150)
@given(NUMBERS | st.text(max_size=30))
def test_an_amount_is_exact_or_refused(text: str) -> None:
    try:
        units = parse_amount(text)
    except AmountMalformed:
        return
    assert 0 <= units <= MAX_SUPPLY


@pytest.mark.parametrize("kind", [AMOUNT, SHARES, RATIO, DIFFICULTY], ids=lambda kind: type(kind).__name__)
def test_words_of_a_command_line_are_converted_or_refused(kind: click.ParamType) -> None:
    @profile(80)
    @given(NUMBERS | st.text(max_size=30) | st.floats() | st.integers() | st.booleans())
    @example("1e999999999")
    @example("1e-999999999")
    @example("9" * 5000)
    @example("NaN")
    @example("sNaN")
    @example("-0")
    def check(value: object) -> None:
        try:
            kind.convert(value, None, None)
        except click.ClickException:
            return

    check()


@profile(80)
@given(st.text(max_size=80) | st.text("[]:.0123456789abcdef%", max_size=40))
def test_a_network_address_is_split_or_refused(text: str) -> None:
    assert is_address(text) in (True, False)
    try:
        host, port = split_address(text)
    except InvalidPeerAddress:
        return
    assert host
    assert 0 <= port < 2**16


@profile(80)
@given(st.text(max_size=40) | st.binary(max_size=30).map(lambda place: make_token("orders", b"", place)))
def test_a_page_token_is_ours_or_refused(token: str) -> None:
    try:
        place = read_token(token, "orders", b"", 20)
    except FedCoinError:
        return
    assert place is None or len(place) == 20


@profile(100)
@given(ANYTHING | st.text("0123456789abcdefABCDEF \n", max_size=10))
def test_hexadecimal_has_one_form(text: Any) -> None:
    try:
        data = read_hex(text, "field")
    except MalformedEncoding:
        return
    assert data.hex() == text
