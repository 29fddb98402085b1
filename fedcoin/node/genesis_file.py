"""Genesis files: JSON that people can read, with the blobs of the first problem inside.

    {"format": "fedcoin-genesis", "version": 1, "chain_id": hex,
     "genesis": {params, timestamp, allocations, miners, problem as in json_values.py},
     "blobs": {digest in hex: base64, …}}

The chain id is the hash of the genesis, so a file that was changed by a letter is another network's, and is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedcoin.core.errors import ConfigInvalid, FedCoinError, MalformedEncoding, MalformedGenesis, WrongGenesis
from fedcoin.core.genesis import GENESIS, Allocation, Genesis
from fedcoin.core.keys import address_of
from fedcoin.core.params import ChainParams
from fedcoin.core.task import Aggregation, Baseline, Problem, Sampler, UpdateRef, Utility
from fedcoin.ledger.genesis import verify_genesis
from fedcoin.node.chain_defaults import DEFAULT_SAMPLER
from fedcoin.node.json_values import from_json, read_hex, to_json

_FORMAT = "fedcoin-genesis"
_VERSION = 1
_FIELDS = ("format", "version", "chain_id", "genesis", "blobs")
MAX_FILE_BYTES = 256 << 20
AUDIT_CLIENTS = 4
AUDIT_SAMPLES = 100


@dataclass(frozen=True)
class GenesisFile:
    """A chain's beginning, and everything that its first AUDIT race needs."""

    genesis: Genesis
    blobs: Mapping[bytes, bytes]
    """By digest: the evaluation set, starting model and updates of the problem."""

    @property
    def chain_id(self) -> bytes:
        """Hash of the genesis."""
        return self.genesis.id()


def make_genesis(
    params: ChainParams,
    allocations: Sequence[Allocation],
    miners: Sequence[bytes],
    timestamp: int,
    sampler: Sampler = DEFAULT_SAMPLER,
) -> GenesisFile:
    """A genesis with a tiny problem for AUDIT races: softmax regression on scikit-learn's digits, K = 4.

    Each miner gets its bond beside `allocations`, so that it holds what they say once the bond has moved. `sampler` is
    the problem's. The same arguments (and versions of torch and scikit-learn) give the same file. Raises
    InvalidGenesis.
    """
    problem, blobs = _audit_problem(sampler)
    genesis = Genesis(params, timestamp, _with_bonds(params, allocations, miners), tuple(miners), problem)
    verify_genesis(genesis)
    return GenesisFile(genesis, blobs)


def _with_bonds(
    params: ChainParams, allocations: Sequence[Allocation], miners: Sequence[bytes]
) -> tuple[Allocation, ...]:
    """The allocations and a bond for each miner; what is wrong with either is left for `verify_genesis` to find."""
    if params.miner_bond == 0:
        return tuple(allocations)
    bonded = list(allocations)
    places = {item.address: place for place, item in reversed(list(enumerate(bonded)))}
    for address in map(address_of, miners):
        if address in places:
            held = bonded[places[address]]
            bonded[places[address]] = replace(held, amount=held.amount + params.miner_bond)
        else:
            places[address] = len(bonded)
            bonded.append(Allocation(address, params.miner_bond))
    return tuple(bonded)


def write_genesis(path: Path, file: GenesisFile) -> None:
    """Write it, for people to read. Raises ConfigInvalid if it cannot be written or is there already."""
    data = {
        "format": _FORMAT,
        "version": _VERSION,
        "chain_id": file.chain_id.hex(),
        "genesis": to_json(GENESIS, file.genesis),
        "blobs": {digest.hex(): base64.b64encode(blob).decode() for digest, blob in sorted(file.blobs.items())},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as output:
            json.dump(data, output, indent=2)
            output.write("\n")
            output.flush()
            os.fsync(output.fileno())
    except OSError as error:
        raise ConfigInvalid(f"{path} cannot be written: {error.strerror}") from error


def load_genesis(path: Path, chain_id: bytes | None = None) -> GenesisFile:
    """The genesis in a file, complete and consistent; of chain `chain_id`, if one is given.

    Raises MalformedGenesis (naming the file and the field), WrongGenesis, InvalidGenesis.
    """
    data = _read(path)
    try:
        stated = read_hex(data["chain_id"], "chain_id")
        genesis = from_json(GENESIS, data["genesis"], "genesis")
        blobs = _blobs(data["blobs"], genesis.problem)
    except MalformedEncoding as error:
        raise MalformedGenesis(f"{path}: {error.message}") from error
    if genesis.id() != stated:
        raise WrongGenesis(
            f"{path} has been changed: its content belongs to chain {genesis.id().hex()[:16]}…, "
            f"it says {stated.hex()[:16]}…; get the network's own file"
        )
    if chain_id is not None and genesis.id() != chain_id:
        raise WrongGenesis(f"{path} is of chain {genesis.id().hex()[:16]}…, {chain_id.hex()[:16]}… is wanted")
    try:
        verify_genesis(genesis)
    except FedCoinError as error:
        raise type(error)(f"{path}: {error.message}") from error
    return GenesisFile(genesis, blobs)


def _read(path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
        if twice is not None:
            raise MalformedGenesis(f"{path}: {twice[:64]}: stands there twice")
        return dict(pairs)

    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise MalformedGenesis(f"{path} is larger than {MAX_FILE_BYTES} bytes")
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except OSError as error:
        raise MalformedGenesis(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise MalformedGenesis(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise MalformedGenesis(f"{path}: format: this is no FedCoin genesis file")
    if data.get("version") != _VERSION:
        raise MalformedGenesis(f"{path}: version: this program reads version {_VERSION}")
    for name in _FIELDS:
        if name not in data:
            raise MalformedGenesis(f"{path}: {name}: missing")
    for name in data:
        if name not in _FIELDS:
            raise MalformedGenesis(f"{path}: {name[:64]}: unknown field")
    return data


def _blobs(data: Any, problem: Problem) -> dict[bytes, bytes]:
    if not isinstance(data, dict):
        raise MalformedEncoding("blobs: expected an object")
    blobs: dict[bytes, bytes] = {}
    for name, text in data.items():
        where = f"blobs.{str(name)[:64]}"
        digest = read_hex(name, where)
        try:
            blob = base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise MalformedEncoding(f"{where}: expected base64") from error
        if hashlib.sha256(blob).digest() != digest:
            raise MalformedEncoding(f"{where}: the bytes do not have this digest")
        blobs[digest] = blob
    for digest in problem.blobs:
        if digest not in blobs:
            raise MalformedEncoding(f"blobs.{digest.hex()}: missing, the problem needs it")
    if len(blobs) != len(set(problem.blobs)):
        raise MalformedEncoding("blobs: one that the problem does not name")
    return blobs


def _audit_problem(sampler: Sampler) -> tuple[Problem, dict[bytes, bytes]]:
    """Four clients of graded quality, each trained for one pass over its share of the digits."""
    from fedcoin.learning.datasets import load_dataset
    from fedcoin.learning.evaluation_set import encode_evaluation_set
    from fedcoin.learning.models import initial_weights, preset
    from fedcoin.learning.partition import partition_by_type
    from fedcoin.learning.training import TrainingSettings, train_locally
    from fedcoin.learning.weights import encode

    digits = load_dataset("digits")
    spec = preset("softmax", digits.input_shape, digits.classes)
    base = initial_weights(spec, 0)
    settings = TrainingSettings(iterations=None, epochs=1, batch_size=32, learning_rate=0.5)
    updates: list[bytes] = []
    references: list[UpdateRef] = []
    for share in partition_by_type(digits.y_train, digits.classes, AUDIT_CLIENTS, AUDIT_CLIENTS, 200):
        x, y = digits.x_train[share.sample_indices], digits.y_train[share.sample_indices]
        update = encode(train_locally(spec, base, x, y, settings, share.index))
        updates.append(update)
        references.append(UpdateRef(hashlib.sha256(update).digest(), len(y)))
    evaluation_set = encode_evaluation_set(digits.x_test[:AUDIT_SAMPLES], digits.y_test[:AUDIT_SAMPLES])
    blobs = {hashlib.sha256(data).digest(): data for data in (encode(base), evaluation_set, *updates)}
    problem = Problem(
        model=spec,
        aggregation=Aggregation.UNWEIGHTED,
        utility=Utility.ACCURACY,
        baseline=Baseline.ZERO,
        sampler=sampler,
        base_model=hashlib.sha256(encode(base)).digest(),
        evaluation_set=hashlib.sha256(evaluation_set).digest(),
        updates=tuple(references),
    )
    return problem, blobs
