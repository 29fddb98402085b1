"""The numbers of sections 17 to 20 of proto/SPEC.md are those of the code: each phrase is pinned to its constant."""

import inspect
import random
import re
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedcoin.consensus import candidates, descent, prosecution, races, side_blocks
from fedcoin.consensus.candidates import ITERATIONS_PER_LEAF, Candidates, SpotChecks
from fedcoin.consensus.settings import PoSapSettings
from fedcoin.core import block, fraud, genesis, model
from fedcoin.core.params import MAX_CLIENTS, MAX_MINERS
from fedcoin.learning import architecture
from fedcoin.ledger import bonds, mempool
from fedcoin.ledger.settlement import MAX_REFUNDS
from fedcoin.node import address_book, auth, engine, gossip, housekeeping, leaf_server, peers
from fedcoin.node.auditor import AuditLimits
from fedcoin.node.chain_defaults import DEFAULT_PARAMS
from fedcoin.node.sync import Sync
from fedcoin.rpc import blobs, channel, limits, paging, score, wire
from fedcoin.rpc.servicers import block as block_servicer
from fedcoin.rpc.servicers import shapley as shapley_servicer

SPEC = (Path(__file__).resolve().parents[2] / "proto" / "SPEC.md").read_text(encoding="utf-8")
CHOSEN, AUDIT, CALLS = PoSapSettings(), AuditLimits(), limits.Limits()
BANS = score.BanRule()
KIB, MIB = 2**10, 2**20


def section(number: int) -> str:
    """One section of the specification, white space made even."""
    text = SPEC.partition(f"\n## {number}. ")[2].partition("\n## ")[0]
    return " ".join(text.split())


def seconds(ms: float) -> str:
    return f"{ms / 1000:g} s"


def most_leaves_of_a_spot_check() -> int:
    return int(inspect.signature(SpotChecks).parameters["most"].default)


def leaves_drawn(iterations: int) -> int:
    """Of an estimate, for the audit of a fresh block."""
    return len(Candidates(b"", DEFAULT_PARAMS, random.Random(0), CHOSEN)._draw(iterations))


def stretch(finality_depth: int) -> int:
    """Blocks that a sync asks for in one call."""
    params = SimpleNamespace(finality_depth=finality_depth)
    engine: Any = SimpleNamespace(posap=SimpleNamespace(chain=SimpleNamespace(params=params)))
    store: Any = None
    return Sync(engine, store)._stretch


def rule(path: str) -> limits.Rule:
    return limits.RULES.get(f"/fedcoin.v1.{path}", limits.DEFAULT_RULE)


SETTINGS = {
    "max_future_ms": (17, f"timestamp at most {seconds(CHOSEN.max_future_ms)} ahead of the node's clock"),
    "patience_ms": (17, f"- none, if it has been known for more than {seconds(CHOSEN.patience_ms)}"),
    "close_patience_ms": (17, f"it has been known for {seconds(CHOSEN.close_patience_ms)} or condition 2"),
    "audit_retry_ms": (17, f"tried again {seconds(CHOSEN.audit_retry_ms)} after one in which nobody delivered"),
    "tie_window_ms": (17, f"arrived within {seconds(CHOSEN.tie_window_ms)} of each other"),
    "tie_patience_ms": (17, f"the later one at least {seconds(CHOSEN.tie_patience_ms)} ago"),
    "stall_ms": (
        17,
        f"had its tip for {seconds(CHOSEN.stall_ms)} and known the other block for {seconds(CHOSEN.stall_ms)}",
    ),
    "audit_leaves": (18, f"but at least {leaves_drawn(ITERATIONS_PER_LEAF)} and at most {CHOSEN.audit_leaves}"),
    "audit_share": (18, f"{100 * CHOSEN.audit_share:g}% of the number of one's own iterations"),
    "conviction_blocks": (18, f"until the chain is {CHOSEN.conviction_blocks} blocks higher"),
    "hold_ms": (19, f"the first of them came more than {seconds(CHOSEN.hold_ms)} ago"),
}
OPERATORS = {"mine", "mempool_capacity"}
"""Settings without a number in the specification: whether a node mines, and how large its mempool is."""

CONSTANTS = [
    (11, f"holds {mempool.MAX_PER_SENDER} transactions of one sender, nonces at most {mempool.MAX_NONCE_GAP} above"),
    (11, f"reports and double signatures, of which it holds {mempool.MAX_EVIDENCE} at most"),
    (12, f"at most {races.MAX_TASKS_PER_ROUND} tasks for one round on one tip"),
    (12, f"The reference holds {races.MAX_HELD_TASKS};"),
    (
        17,
        f"if it has been known for {seconds(CHOSEN.stall_ms)} and the node is stuck: "
        f"it has had its tip for {seconds(CHOSEN.stall_ms)}",
    ),
    (17, f"known each rival of its height, for {seconds(2 * CHOSEN.stall_ms)}"),
    (17, f"up to the {4 * CHOSEN.stall_ms // 1000}th second"),
    (17, f"fewer than {side_blocks.MAX_PER_WINNER} blocks of this winner"),
    (17, f"kept in the last {side_blocks.WINDOW_MS // 60_000} minutes"),
    (17, f"- {candidates.BURIED_CONVICTED}, if an audit (section 18) has convicted its winner"),
    (17, f"- {candidates.BURIED} otherwise."),
    (17, f"; {seconds(candidates.CHILD_GRACE_MS)} after its arrival if a sync has promised a child"),
    (18, f"recompute the step of one iteration for each {ITERATIONS_PER_LEAF}"),
    (18, f"below p = min({descent.PARTS}, high − low)"),
    (18, f"up to {most_leaves_of_a_spot_check()} in one check of one estimate"),
    (18, f"has not ended after {seconds(candidates.SPOT_CHECK_LIMIT_MS)} is lost"),
    (18, f"the reference: {AUDIT.source_seconds:g} s, all that claim"),
    (18, f"once; {AUDIT.deadline_seconds:g} s in all)"),
    (18, f"waits {seconds(prosecution.TURN_MS)} for each of those before it"),
    (18, f"counted modulo {prosecution.TURNS}, and at most {seconds(prosecution.OTHERS_FIRST_MS)} for a case"),
    (18, f"within {AUDIT.trial_seconds:g} s, and one that it could not"),
    (18, f"try again after {seconds(prosecution.TRIAL_RETRY_MS)}"),
    (18, f"those of its last {housekeeping.KEPT_RACES} races"),
    (20, f"repeats GetStatus every {peers.STATUS_SECONDS:g} s"),
    (20, f"A stretch is at least finality_depth + {stretch(10_000) - 10_000} blocks"),
    (20, f"and every {peers.FULL_SECONDS:g} s; only"),
    (20, f"more than {seconds(auth.MAX_AGE_MS)} off the server's clock"),
    (20, f"in pieces of at most {blobs.CHUNK_BYTES // MIB} MiB"),
    (20, f"A locator has at most {block_servicer.MAX_LOCATOR} hashes"),
    (
        20,
        f"SyncBlocks gives {block_servicer.DEFAULT_SYNC} blocks if not said otherwise, {block_servicer.MAX_SYNC:,} at",
    ),
    (20, f"GetLeaves gives {min(shapley_servicer.MAX_LEAVES_A_CALL, leaf_server.MAX_INDICES)} leaves at most"),
    (20, f"Pages hold {paging.DEFAULT_PAGE} items if not said otherwise, {paging.MAX_PAGE} at most"),
    (20, f"and end early at {paging.MAX_PAGE_BYTES // MIB} MiB"),
    (20, f"| payments, transactions in a block's encoding | {block.MAX_BLOCK_TRANSACTIONS:,} each |"),
    (20, f"| estimates in a certificate | {MAX_MINERS} |"),
    (20, f"| updates of a task | {MAX_CLIENTS} |"),
    (20, f"| allocations of a genesis | {genesis.MAX_ALLOCATIONS:,} |"),
    (20, f"| layers of a model | {model.MAX_LAYERS} |"),
    (20, f"| parameters, values of activations of a model | {architecture.MAX_PARAMETERS:,} each |"),
    (
        20,
        "| refunds, bonds given back, convictions paid out in a block | "
        f"{MAX_REFUNDS}, {bonds.MAX_BONDS}, {bonds.MAX_CONVICTIONS} |",
    ),
    (20, f"| bytes of a leaf, hashes of its path in a fraud report | {fraud.MAX_LEAF_BYTES}, {fraud.MAX_PATH} |"),
    (20, f"fit, as protobuf | {channel.MAX_MESSAGE_BYTES // MIB} MiB, {wire.MAX_FIELDS:,} fields |"),
    (20, f"| a request, if none of the following | {limits.DEFAULT_RULE.message_bytes // KIB} KiB |"),
    (20, f"| PublishTask | {rule('TaskService/PublishTask').message_bytes // MIB} MiB |"),
    (20, f"up to {limits.MAX_RELAYED} in a message, each judged"),
    (20, f"gathers them for {gossip.GATHER_SECONDS:g} s"),
    (
        20,
        f"| {limits.MAX_RELAYED_BYTES // MIB} MiB, {limits.MAX_RELAYED} transactions; "
        f"{CALLS.transactions_per_second:,.0f} a second, {CALLS.transaction_burst:,.0f} at once |",
    ),
    (
        20,
        f"| a piece of an upload | {blobs.CHUNK_BYTES // MIB} MiB and "
        f"{(rule('BlobService/UploadBlob').message_bytes - blobs.CHUNK_BYTES) // KIB} KiB |",
    ),
    (
        20,
        f"PollRound | {limits.DEFAULT_RULE.seconds:g} s; {rule('BlobService/DownloadBlob').seconds:g} s; "
        f"{rule('TrainingService/PollRound').seconds:g} s |",
    ),
    (20, f"counted; until a message of ours is read | {CALLS.idle_seconds:g} s |"),
    (20, f"after the first {CALLS.slow_seconds:g} s of waiting | {CALLS.slowest / KIB:g} KiB a second |"),
    (20, f"of all peers together | {CALLS.long_per_peer}; {CALLS.long} of {CALLS.concurrent} |"),
    (
        20,
        f"transfers | {rule('BlockService/PropagateBlock').concurrent}; {rule('TaskService/PublishTask').concurrent} |",
    ),
    (20, f"makes calls within {limits.CONNECTION_SECONDS:g} s | {CALLS.connections}; {CALLS.connections_per_peer} |"),
    (20, f"one without calls | {channel.HANDSHAKE_MS // 1000} s; {channel.IDLE_MS // 1000} s |"),
    (20, f"`NODE_BUSY`): likewise | {', '.join(map(str, engine.WAITING.values()))} |"),
    (20, f"(an IPv4 /24, IPv6 /48, last two labels of a host name) | {peers.PEERS_A_NETWORK} |"),
    (
        20,
        f"| {address_book.MAX_MET}, {address_book.MAX_HEARD}; {address_book.MET_OF_NETWORK}, "
        f"{address_book.HEARD_OF_NETWORK}; {address_book.HEARD_FROM_SOURCE} |",
    ),
    (20, f"by the code of the error: {score.POINTS['INVALID_SIGNATURE']:g} for whatever is"),
    (20, f"announced, {score.POINTS['MALFORMED_ENCODING']:g} for what"),
    (20, f"and {score.POINTS['RATE_LIMITED']:g} a second for going on beyond the limits"),
    (20, f"Points halve in {BANS.half_life:g} s. Who has {BANS.threshold:g} is refused for {BANS.seconds:g} s"),
    (20, f"it then begins with {BANS.threshold / 2:g}."),
    (
        20,
        f"| {CALLS.calls_per_second:g} a second, {CALLS.call_burst:g} at once from rest, "
        f"{CALLS.concurrent_per_peer} in flight |",
    ),
    (20, f"| {CALLS.bytes_per_second / MIB:g} MiB a second, {CALLS.byte_burst / MIB:g} MiB at once from rest |"),
    (
        20,
        "for one peer: blocks, tasks, estimates, transactions | "
        + ", ".join(str(gossip.LIMITS[kind]) for kind in ("block", "task", "estimate", "transaction"))
        + " |",
    ),
]
ALL = [*SETTINGS.values(), *CONSTANTS]


def test_every_setting_has_its_number_in_the_specification() -> None:
    assert {field.name for field in fields(PoSapSettings)} == SETTINGS.keys() | OPERATORS


@pytest.mark.parametrize(("number", "phrase"), ALL, ids=[phrase[:48] for _, phrase in ALL])
def test_a_number_of_the_specification_is_that_of_the_code(number: int, phrase: str) -> None:
    assert section(number).count(phrase) == 1


@pytest.mark.parametrize("number", [17, 18, 19, 20])
def test_no_number_of_these_sections_is_left_unpinned(number: int) -> None:
    """What remains when pinned phrases and references are taken out has no number in digits but harmless ones."""
    text = section(number)
    for phrase in sorted((phrase for at, phrase in ALL if at == number), key=len, reverse=True):
        text = text.replace(phrase, "")
    text = re.sub(
        r"sections? [\d.]+( (and|or|to) [\d.]+)?|docs/adr/\d+|`fedcoin\.v1`|`proto/fedcoin/v1`|\bv1\b", "", text
    )
    text = re.sub(r"Alg\. \d|lines? \d+(–\d+)?|condition 2|IPv6 /64|HOST:PORT", "", text)
    text = re.sub(r"(?<![\w.])\d\. ", "", text)  # items of a list
    text = re.sub(r"parent's \+ 1\b|`time` is 0", "", text)
    assert re.findall(r"[^ ]* ?\b\d[\d,.]*\b[^ ]* [^ ]*", text) == []


def test_the_two_limits_of_a_model_are_one_number() -> None:
    assert architecture.MAX_PARAMETERS == architecture.MAX_ACTIVATIONS


def test_leaves_recomputed_grow_with_the_estimate() -> None:
    most = CHOSEN.audit_leaves
    assert [leaves_drawn(n * ITERATIONS_PER_LEAF) for n in (3, most, most + 1)] == [3, most, most]
    assert leaves_drawn(1) == 1


def test_transfers_share_one_time_limit() -> None:
    moved = [
        *(
            "BlobService/DownloadBlob",
            "BlobService/UploadBlob",
            "BlockService/SyncBlocks",
            "OrderService/DownloadModel",
        ),
        "TrainingService/SubmitUpdate",
    ]
    assert {rule(path).seconds for path in moved} == {rule("BlobService/DownloadBlob").seconds}
    assert {rule(path).seconds for path in ("BlockService/WatchBlocks", "OrderService/WatchOrder")} == {None}
