"""An FL server, three clients with digits and a requester in one process, on a TinyChain."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from fedcoin.core.keys import PrivateKey
from fedcoin.core.task import Aggregation, Baseline, Sampler, UpdateCommitment, Utility
from fedcoin.core.transaction import Order, Schedule, sign_transaction
from fedcoin.learning.datasets import load_dataset
from fedcoin.learning.evaluation_set import encode_evaluation_set
from fedcoin.learning.models import preset
from fedcoin.node.auth import JoinRequest, sign_join
from fedcoin.node.chain_view import ChainView
from fedcoin.node.client import ClientEvent, ClientNode, HostedClient
from fedcoin.node.config import ClientSettings, ServerSettings
from fedcoin.node.learning_jobs import ClientData
from fedcoin.node.requester import Requester
from fedcoin.node.rounds import RoundSettings
from fedcoin.node.server import ServerNode
from fedcoin.node.server_handler import ServerRequests
from fedcoin.node.worker import Worker
from fedcoin.rpc.views import RoundOffer, TrainingSettings
from fedcoin.store.server_store import ServerStore
from tests.support.tiny_chain import OTHER_REQUESTER, REQUESTER, START, Clock, TinyChain

SERVER = PrivateKey(b"\x52" * 32)
CLIENT_KEYS = tuple(sorted((PrivateKey(bytes([0x61 + i]) * 32) for i in range(3)), key=lambda key: key.public_key))
"""In the order of Shapley vectors."""
DEADLINE_MS = 60_000
SETTINGS = ServerSettings(
    rounds=RoundSettings(deadline_ms=DEADLINE_MS, heard_within_ms=10 * DEADLINE_MS),
    training=TrainingSettings(1, 32, 0.5),
)


@cache
def digits_data() -> tuple[tuple[ClientData, ...], bytes]:
    """Three clients' shares and an evaluation set of 60 samples."""
    data = load_dataset("digits")
    x, y = data.x_train.numpy(), data.y_train.numpy()
    shares = tuple(ClientData(x[i : i + 60].copy(), y[i : i + 60].copy()) for i in (0, 100, 200))
    return shares, encode_evaluation_set(data.x_test[:60], data.y_test[:60])


EVALUATION_SET = digits_data()[1]
MODEL = preset("softmax", (1, 8, 8), 10)


def make_order(**changes: object) -> Order:
    """1000 units over two rounds, at 7 : 1 : 2."""
    order = Order(
        server=SERVER.address,
        amount=1000,
        train_share=7,
        com_share=1,
        sap_share=2,
        rounds=2,
        schedule=Schedule.EQUAL,
        ratio_numerator=1,
        ratio_denominator=1,
        model=MODEL,
        aggregation=Aggregation.UNWEIGHTED,
        utility=Utility.ACCURACY,
        baseline=Baseline.ZERO,
        sampler=Sampler.PERMUTATION,
        evaluation_set=hashlib.sha256(EVALUATION_SET).digest(),
        min_clients=2,
        expiry=START + 3_600_000,
    )
    return replace(order, **changes)  # type: ignore[arg-type]


@dataclass
class Federation:
    """Everything but the miners' work, which tests do with `chain.settle`."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    settings: ServerSettings = SETTINGS
    more_chains: tuple[TinyChain, ...] = ()

    def __post_init__(self) -> None:
        self.chain = TinyChain(self.clock)
        self.chain_id = self.chain.chain_id
        self.events: list[ClientEvent] = []
        self.worker = Worker(make_executor=lambda: ThreadPoolExecutor(1))
        self.store: ServerStore | None = None
        self.start()

    def start(self) -> None:
        """The server, and a client process that does not notice when the server is another one."""
        self.store = ServerStore(self.folder, self.chain_id)
        view = ChainView((*self.more_chains, self.chain), self.chain_id)
        self.server = ServerNode(SERVER, view, self.store, self.worker, self.settings, self.clock, "cpu")
        self.requests = ServerRequests(self.server, self.chain.params, "test")
        self.client_chain = ChainView((self.chain,), self.chain_id)
        hosted = [
            HostedClient(f"client-{i}", key, data)
            for i, (key, data) in enumerate(zip(CLIENT_KEYS, digits_data()[0], strict=True))
        ]
        settings = ClientSettings(poll_wait_seconds=0.0, join_interval_ms=1000)
        self.clients = ClientNode(
            hosted, self.requests, self.client_chain, self.worker, settings, self.clock, self.events.append
        )
        self.requester = Requester(REQUESTER, self.client_chain, self.requests, self.clock, poll_ms=1)
        self.stranger = Requester(OTHER_REQUESTER, self.client_chain, self.requests, self.clock, poll_ms=1)

    def crash(self) -> None:
        """As after kill -9: what is not in the store is lost."""
        assert self.store is not None
        self.store.close()
        self.start()

    def close(self) -> None:
        assert self.store is not None
        self.store.close()
        self.worker.stop()

    async def order(self, key: PrivateKey = REQUESTER, upload: bool = True, **changes: object) -> bytes:
        """Place an order; its deposit is in a block when this returns."""
        order = make_order(**changes)
        nonce = (await self.chain.account(key.address)).pending_nonce
        transaction = sign_transaction(key, self.chain_id, nonce, 1, order)
        await self.chain.submit(transaction, None)
        if upload:
            await self.requests.offer_order(order)
            await self.requests.put_blob(order.evaluation_set, EVALUATION_SET)
        self.chain.mine()
        return transaction.id(self.chain_id)

    async def join(self, *which: int) -> None:
        """Clients (all, if none is given) say that they are there."""
        for i in which or range(3):
            await self.join_key(CLIENT_KEYS[i])

    async def join_key(self, key: PrivateKey, samples: int = 60) -> None:
        request = JoinRequest(SERVER.public_key, samples, self.clock())
        signature = sign_join(key, self.chain_id, request)
        await self.requests.join(key.public_key, samples, request.joined_at, signature)

    async def train(self, *which: int) -> None:
        """Clients (all, if none is given) do what they are asked for."""
        for i in which or range(3):
            await self.clients.work_once(self.clients.clients[i])

    async def step(self, times: int = 1) -> None:
        for _ in range(times):
            await self.server.step()

    async def begin(self, **changes: object) -> bytes:
        """An order whose first round is open for all clients."""
        order_id = await self.order(**changes)
        await self.join()
        await self.step()
        return order_id

    def signed(
        self, offer: RoundOffer, key: PrivateKey, data: bytes, **changes: object
    ) -> tuple[UpdateCommitment, bytes, bytes, bytes]:
        """Arguments of submit_update."""
        digest = hashlib.sha256(data).digest()
        commitment = UpdateCommitment(offer.order_id, offer.round, offer.base_model, digest, 60)
        commitment = replace(commitment, **changes)  # type: ignore[arg-type]
        return commitment, key.public_key, key.sign(commitment.id(self.chain_id)), data

    async def offer(self, client: int = 0) -> RoundOffer:
        offer = await self.requests.poll_round(CLIENT_KEYS[client].public_key, 0.0)
        assert offer is not None
        return offer


def poisoned(value: float) -> bytes:
    """An update of MODEL with one parameter set to `value`."""
    from fedcoin.learning.models import initial_weights
    from fedcoin.learning.tensorfile import write_tensors

    weights = {name: tensor.numpy().copy() for name, tensor in initial_weights(MODEL, 1).items()}
    weights["0.bias"][0] = value
    return write_tensors({name: np.asarray(array) for name, array in weights.items()})
