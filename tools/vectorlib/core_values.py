"""Keys, addresses, signatures, encodings and Merkle trees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fedcoin.core.bech32 import encode as bech32_encode
from fedcoin.core.block import HEADER, BlockHeader
from fedcoin.core.encoding import Struct
from fedcoin.core.errors import FedCoinError
from fedcoin.core.estimate import _UNSIGNED as UNSIGNED_ESTIMATE
from fedcoin.core.estimate import ESTIMATE, Estimate, sign_estimate
from fedcoin.core.fraud import FraudVote
from fedcoin.core.genesis import GENESIS as GENESIS_LAYOUT
from fedcoin.core.keys import CURVE_ORDER, PrivateKey, format_address, parse_address, verify_signature
from fedcoin.core.merkle import MerkleLog
from fedcoin.core.task import _UNSIGNED as UNSIGNED_TASK
from fedcoin.core.task import PROBLEM, TASK, UPDATE_COMMITMENT, Contributor, RaceKind, Task, race_id, sign_task
from fedcoin.core.transaction import _UNSIGNED as UNSIGNED_TRANSACTION
from fedcoin.core.transaction import (
    TRANSACTION,
    Body,
    MinerLeave,
    MinerRegistration,
    Schedule,
    Transaction,
    Transfer,
    bond_address,
    escrow_address,
    sign_transaction,
)
from fedcoin.ledger.transactions import verify_alone
from fedcoin.node.auth import JOIN_REQUEST, MODEL_REQUEST, JoinRequest, ModelRequest
from vectorlib.fraud_values import broken_double_signs, broken_reports, double_sign, report
from vectorlib.json_values import to_json
from vectorlib.people import CHAIN, CNN, GENESIS, OTHER_CHAIN, START, digest, key, order, problem

Json = dict[str, Any]


def code_of(call: Any) -> str | None:
    """The code of the error that `call` raises; None if it raises none."""
    try:
        call()
    except FedCoinError as error:
        return error.code
    return None


def keys_addresses() -> Json:
    """Private key → public key → address → text; mistyped texts; escrows."""
    alice = format_address(key("alice").address)
    private_keys = [PrivateKey((1).to_bytes(32, "big")), PrivateKey((CURVE_ORDER - 1).to_bytes(32, "big"))]
    private_keys += [key(name) for name in ("alice", "requester", "server", "miner 0")]
    mistyped = {
        "one letter changed": alice[:-1] + ("q" if alice[-1] != "q" else "p"),
        "two letters swapped": alice[:10] + alice[11] + alice[10] + alice[12:],
        "a letter missing": alice[:-1],
        "mixed case": alice[:-1] + alice[-1].upper() if alice[-1].isalpha() else "FDC1" + alice[4:],
        "another prefix": bech32_encode("bc", key("alice").address),
        "19 bytes": bech32_encode("fdc", bytes(19)),
        "21 bytes": bech32_encode("fdc", bytes(21)),
        "a letter that none has": alice[:-1] + "b",
        "empty": "",
    }
    secrets = {"zero": 0, "the curve order": CURVE_ORDER, "the largest number": 2**256 - 1}
    return {
        "keys": [
            {
                "private_key": item.secret.hex(),
                "public_key": item.public_key.hex(),
                "address": item.address.hex(),
                "text": format_address(item.address),
            }
            for item in private_keys
        ],
        "accepted_texts": [
            {"text": text, "address": parse_address(text).hex()} for text in (alice, alice.upper(), f" {alice}\n")
        ],
        "refused_texts": [
            {"name": name, "text": text, "code": code_of(lambda text=text: parse_address(text))}
            for name, text in mistyped.items()
        ],
        "refused_private_keys": [
            {
                "name": name,
                "private_key": f"{value:064x}",
                "code": code_of(lambda value=value: PrivateKey(value.to_bytes(32, "big"))),
            }
            for name, value in secrets.items()
        ],
        "escrows": [
            {"order_id": order_id.hex(), "address": escrow_address(order_id).hex()}
            for order_id in (digest("order 0"), bytes(32))
        ],
        "bonds": [
            {"public_key": miner.hex(), "address": bond_address(miner).hex()}
            for miner in (key("miner 0").public_key, key("miner 1").public_key)
        ],
    }


def signatures() -> Json:
    """Signatures over digests, good and bad."""
    alice, mallory = key("alice"), key("mallory")
    message = digest("message")
    good = alice.sign(message)
    r, s = good[:32], int.from_bytes(good[32:], "big")
    paid = sign_transaction(alice, CHAIN, 0, 1000, Transfer(key("requester").address, 5))
    cases = {
        "valid": (alice.public_key, message, good),
        "valid, another digest": (alice.public_key, digest("more"), alice.sign(digest("more"))),
        "high s": (alice.public_key, message, r + (CURVE_ORDER - s).to_bytes(32, "big")),
        "wrong key": (mallory.public_key, message, good),
        "wrong digest": (alice.public_key, digest("other message"), good),
        "a transaction's signature": (alice.public_key, paid.id(CHAIN), paid.signature),
        "wrong chain": (alice.public_key, paid.id(OTHER_CHAIN), paid.signature),
        "r is 0": (alice.public_key, message, bytes(32) + good[32:]),
        "s is 0": (alice.public_key, message, r + bytes(32)),
        "r is the curve order": (alice.public_key, message, CURVE_ORDER.to_bytes(32, "big") + good[32:]),
        "63 bytes": (alice.public_key, message, good[:-1]),
        "65 bytes": (alice.public_key, message, good + b"\x00"),
        "public key off the curve": (b"\x02" + (5).to_bytes(32, "big"), message, good),
    }
    return {
        "cases": [
            {
                "name": name,
                "public_key": public_key.hex(),
                "digest": hashed.hex(),
                "signature": signature.hex(),
                "code": code_of(lambda args=(public_key, hashed, signature): verify_signature(*args)),
            }
            for name, (public_key, hashed, signature) in cases.items()
        ],
        "signed": [
            {
                "private_key": signer.secret.hex(),
                "digest": digest(f"to sign {i}").hex(),
                "signature": signer.sign(digest(f"to sign {i}")).hex(),
            }
            for i, signer in enumerate((alice, mallory, key("server"), PrivateKey((1).to_bytes(32, "big"))))
        ],
    }


def transactions() -> Json:
    """Every body: fields, encoding, id, signature; broken encodings; broken rules."""
    requester = key("requester")
    geometric = order(schedule=Schedule.GEOMETRIC, ratio_numerator=9, ratio_denominator=10, model=CNN, rounds=10)
    bodies: dict[str, Body] = {
        "transfer": Transfer(key("alice").address, 123_456_789),
        "transfer of the largest amount": Transfer(key("alice").address, 2**63 - 1),
        "order": order(),
        "order with a geometric schedule": geometric,
        "registration": MinerRegistration("grüne Mine"),
        "leave": MinerLeave(),
        "fraud report": report(key("miner 0"), 2, digest("order 0")),
        "fraud report of a first leaf, without an order": report(key("miner 0"), 0, None),
        "fraud vote": FraudVote(report(key("miner 0"), 2, None).id(CHAIN)),
        "double signature": double_sign(key("miner 0")),
    }
    valid = [
        (name, sign_transaction(requester, CHAIN, nonce, 1000 + nonce, body))
        for nonce, (name, body) in enumerate(bodies.items())
    ]
    valid.append(("largest nonce", sign_transaction(requester, CHAIN, 2**64 - 1, 1000, bodies["transfer"])))
    transfer = valid[0][1]
    encoded = TRANSACTION.encode(transfer)
    kind_at = 33 + 8 + 8
    registration = bytearray(TRANSACTION.encode(valid[4][1]))
    malformed = {
        "empty": b"",
        "a byte missing": encoded[:-1],
        "a byte left over": encoded + b"\x00",
        "kind 0": encoded[:kind_at] + b"\x00" + encoded[kind_at + 1 :],
        "kind 8": encoded[:kind_at] + b"\x08" + encoded[kind_at + 1 :],
        "name longer than the message": registration[: kind_at + 1] + b"\x00\x00\x00\x40" + registration[kind_at + 5 :],
        "name above the limit": registration[: kind_at + 1] + b"\x00\x00\x00\x41" + bytes(200),
        "name not UTF-8": registration[: kind_at + 5] + b"\xff" + registration[kind_at + 6 :],
    }
    broken: dict[str, tuple[int, Body]] = {
        "fee below the minimum": (999, Transfer(key("alice").address, 1)),
        "fee above the largest supply": (2**63, Transfer(key("alice").address, 1)),
        "amount of 0": (1000, Transfer(key("alice").address, 0)),
        "amount above the largest supply": (1000, Transfer(key("alice").address, 2**63)),
        "order of 0 units": (1000, order(amount=0)),
        "no rounds": (1000, order(rounds=0)),
        "1001 rounds": (1000, order(rounds=1001)),
        "shares all 0": (1000, order(train_share=0, com_share=0, sap_share=0)),
        "equal schedule with a ratio": (1000, order(ratio_denominator=2)),
        "ratio above 1": (1000, order(schedule=Schedule.GEOMETRIC, ratio_numerator=3, ratio_denominator=2)),
        "ratio of 0": (1000, order(schedule=Schedule.GEOMETRIC, ratio_numerator=0, ratio_denominator=2)),
        "no clients": (1000, order(min_clients=0)),
        "1025 clients": (1000, order(min_clients=1025)),
        "fewer units than rounds": (1000, order(amount=2)),
        "empty name": (1000, MinerRegistration("")),
        "name of spaces": (1000, MinerRegistration("  ")),
        "control character": (1000, MinerRegistration("a\nb")),
        "report of oneself": (1000, report(requester, 2, None)),
    }
    accused, other = key("miner 0"), key("miner 1")
    broken |= {name: (1000, body) for name, body in broken_reports(accused, other)}
    broken |= {name: (1000, body) for name, body in broken_double_signs(accused, other)}
    return {
        "chain_id": CHAIN.hex(),
        "min_fee": str(GENESIS.params.min_fee),
        "cases": [_transaction(name, requester, transaction) for name, transaction in valid],
        "malformed": [
            {
                "name": name,
                "encoding": bytes(data).hex(),
                "code": code_of(lambda data=data: TRANSACTION.decode(bytes(data))),
            }
            for name, data in malformed.items()
        ],
        "refused": [
            _refused(name, sign_transaction(requester, CHAIN, 0, fee, body)) for name, (fee, body) in broken.items()
        ]
        + [
            _refused("signed for another chain", sign_transaction(requester, OTHER_CHAIN, 0, 1000, bodies["transfer"])),
            _refused(
                "signed by somebody else",
                replace(transfer, signature=key("mallory").sign(transfer.id(CHAIN))),
            ),
        ],
    }


def _transaction(name: str, signer: PrivateKey, transaction: Transaction) -> Json:
    return {
        "name": name,
        "private_key": signer.secret.hex(),
        "fields": to_json(TRANSACTION, transaction),
        "unsigned": UNSIGNED_TRANSACTION.encode(transaction).hex(),
        "id": transaction.id(CHAIN).hex(),
        "signature": transaction.signature.hex(),
        "encoding": TRANSACTION.encode(transaction).hex(),
    }


def _refused(name: str, transaction: Transaction) -> Json:
    code = code_of(lambda: verify_alone(transaction, CHAIN, GENESIS.params))
    if code is None:
        raise AssertionError(f"{name} is accepted")
    return {"name": name, "encoding": TRANSACTION.encode(transaction).hex(), "code": code}


def encodings() -> Json:
    """Everything else that is hashed or signed: fields, encoding, digest, signature."""
    server, client, miner = key("server"), key("client 0"), key("miner 0")
    stated = problem("order", 2)
    bare = Task(
        server.public_key,
        digest("order 0"),
        1,
        digest("parent"),
        *(700, 100, 200),
        stated,
        (),
        2,
        50_000_000,
        START,
        START + 60_000,
        b"",
    )
    commitments = [bare.commitment(0), bare.commitment(1)]
    signers = [client, key("client 1")]
    contributors = tuple(
        Contributor(signer.public_key, signer.sign(commitment.id(CHAIN)))
        for signer, commitment in zip(signers, commitments, strict=True)
    )
    task = sign_task(server, CHAIN, Task(**{**vars(bare), "contributors": contributors}))
    estimate = sign_estimate(
        miner,
        CHAIN,
        Estimate(
            RaceKind.TASK,
            task.id(CHAIN),
            task.parent,
            miner.public_key,
            2,
            (1_500_000_000, -3),
            digest("leaf root"),
            START + 1,
            b"",
        ),
    )
    header = BlockHeader(
        1,
        CHAIN,
        RaceKind.TASK,
        7,
        miner.public_key,
        (2**40, -(2**40)),
        3,
        task.parent,
        estimate.total,
        2,
        task.difficulty,
        digest("merkle root"),
        START + 2,
        task.id(CHAIN),
        digest("certificate root"),
        digest("state root"),
    )
    join, ask = JoinRequest(server.public_key, 600, START), ModelRequest(digest("order 0"), START)

    def case(name: str, struct: Struct[Any], value: Any, signer: PrivateKey | None, context: bytes = CHAIN) -> Json:
        hashed = struct.digest(value, context)
        return {
            "name": name,
            "tag": struct.tag,
            "context": context.hex(),
            "fields": to_json(struct, value),
            "encoding": struct.encode(value).hex(),
            "digest": hashed.hex(),
            "private_key": signer.secret.hex() if signer else None,
            "signature": signer.sign(hashed).hex() if signer else None,
        }

    return {
        "chain_id": CHAIN.hex(),
        "cases": [
            case("genesis", GENESIS_LAYOUT, GENESIS, None, b""),
            case("problem", PROBLEM, stated, None, b""),
            case("update commitment", UPDATE_COMMITMENT, commitments[0], client),
            case("task", UNSIGNED_TASK, task, server),
            case("estimate", UNSIGNED_ESTIMATE, estimate, miner),
            case("block header", HEADER, header, miner),
            case("join request", JOIN_REQUEST, join, client),
            case("model request", MODEL_REQUEST, ask, key("requester")),
        ],
        "signed": [
            {"name": "task", "encoding": TASK.encode(task).hex()},
            {"name": "estimate", "encoding": ESTIMATE.encode(estimate).hex()},
        ],
        "races": [
            {
                "kind": int(kind),
                "task": task.id(CHAIN).hex(),
                "parent": task.parent.hex(),
                "race": race_id(kind, task.id(CHAIN), task.parent).hex(),
            }
            for kind in RaceKind
        ],
    }


def merkle() -> Json:
    """Roots, inclusion and consistency of trees of up to 17 leaves; the first eight are those of RFC 6962's tests."""
    texts = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
    leaves = [bytes.fromhex(text) for text in texts] + [f"leaf {i}".encode() for i in range(8, 17)]
    log = MerkleLog()
    for leaf in leaves:
        log.append(leaf)
    inclusion = [
        (index, size) for size in (1, 2, 3, 5, 8, 13, 17) for index in {0, 1, size // 2, size - 1} if index < size
    ]
    consistency = [(1, 1), (1, 2), (1, 8), (2, 5), (4, 8), (6, 8), (7, 13), (8, 17), (16, 17), (17, 17)]
    return {
        "leaves": [leaf.hex() for leaf in leaves],
        "roots": [log.root(size).hex() for size in range(len(leaves) + 1)],
        "inclusion": [
            {"index": index, "size": size, "proof": [node.hex() for node in log.inclusion_proof(index, size)]}
            for index, size in sorted(inclusion, key=lambda pair: pair[::-1])
        ],
        "consistency": [
            {"old": old, "new": new, "proof": [node.hex() for node in log.consistency_proof(old, new)]}
            for old, new in consistency
        ],
    }
