"""Nothing is minted and nothing is lost, whatever blocks do (checked after every block by `World.block`)."""

import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from fedcoin.core.errors import FedCoinError
from fedcoin.core.fraud import FraudVote
from fedcoin.core.transaction import MinerLeave, MinerRegistration, Schedule, bond_address, escrow_address
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.fraud import open_cases
from fedcoin.ledger.mempool import Mempool
from fedcoin.ledger.miners import MinerStanding, miners
from fedcoin.ledger.orders import OrderStatus, open_orders, orders
from fedcoin.ledger.prices import round_prices
from fedcoin.ledger.state import supply
from tests.support.accusations import double_sign_of, report_of

PEOPLE = st.sampled_from(["requester", "server", "alice", "bob", "carol", "miner0", "dora"])
MINERS = st.sampled_from(["miner0", "miner1", "miner2", "alice", "dora"])
WINNERS = st.sampled_from(["miner0", "miner1", "miner2"])
VALUES = st.integers(-(10**15), 10**15)


def test_supply_is_constant_and_undo_exact_under_any_blocks(new_world):
    class Chain(RuleBasedStateMachine):
        @initialize()
        def start(self):
            self.world = new_world()
            self.pool = Mempool(self.world.chain_id, self.world.params, 50)

        def block(self, *transactions, **settings):
            before, root = self.world.state.entries(), self.world.state.root()
            try:
                fork = self.world.block(*transactions, **settings)
            except FedCoinError:
                assert self.world.state.entries() == before
                return
            assert fork.changes() == {}, "what was committed is what the fork says"
            after = self.world.state.entries()
            undo = {key: before.get(key) for key in {*before, *after} if before.get(key) != after.get(key)}
            back = self.world.state.fork()
            back.apply(undo)
            assert (back.entries(), back.root()) == (before, root)

        @rule(
            sender=PEOPLE, recipient=PEOPLE, amount=st.integers(0, 1_100_000), fee=st.integers(4, 500), winner=WINNERS
        )
        def transfer(self, sender, recipient, amount, fee, winner):
            self.block(self.world.transfer(sender, recipient, amount, fee), winner=winner)

        @rule(
            amount=st.integers(1, 5000) | st.integers(0, 1_100_000),
            shares=st.tuples(*[st.integers(0, 9)] * 3),
            rounds=st.integers(1, 4),
            ratio=st.tuples(st.integers(1, 4), st.integers(3, 5)),
            life=st.integers(900, 30_000),
            requester=PEOPLE,
        )
        def order(self, amount, shares, rounds, ratio, life, requester):
            order = self.world.order(
                amount=amount,
                train_share=shares[0],
                com_share=shares[1],
                sap_share=shares[2],
                rounds=rounds,
                schedule=Schedule.GEOMETRIC,
                ratio_numerator=ratio[0],
                ratio_denominator=ratio[1],
                expiry=self.world.timestamp + life,
            )
            self.block(self.world.sign(requester, order))

        @rule(
            data=st.data(),
            rounds=st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=3),
            paying=st.integers(1, 2000),
            winner=WINNERS,
        )
        def settle(self, data, rounds, paying, winner):
            for averaged in rounds:
                if not any(True for _ in open_orders(self.world.state)):
                    self.block(self.world.sign("requester", self.world.order(amount=paying + 3)))
                still_open = list(open_orders(self.world.state))
                if still_open:
                    task = self.world.task(data.draw(st.sampled_from(still_open)).order_id)
                    self.block(self.world.transfer("alice", "bob", paying), task=task, averaged=averaged, winner=winner)

        @precondition(lambda self: self.world.height % 5 == 0)
        @rule(name=PEOPLE)
        def register(self, name):
            self.block(self.world.sign(name, MinerRegistration(name)))

        @precondition(lambda self: self.world.height % 6 == 0)
        @rule(name=MINERS)
        def leave(self, name):
            self.block(self.world.sign(name, MinerLeave()))

        @rule(
            reporter=MINERS,
            accused=MINERS,
            index=st.integers(0, 4),
            voters=st.permutations(["miner0", "miner1", "miner2", "alice", "dora"]),
            ordered=st.booleans(),
        )
        def accuse(self, reporter, accused, index, voters, ordered):
            order_ids = [record.order_id for record in orders(self.world.state)]
            order_id = order_ids[-1] if ordered and order_ids else None
            made = report_of(self.world.key(accused), self.world.chain_id, index, order_id)
            self.block(self.world.sign(reporter, made))
            for voter in voters[:3]:
                self.block(self.world.sign(voter, FraudVote(made.id(self.world.chain_id))))

        @precondition(lambda self: self.world.height % 7 == 0)
        @rule(sender=PEOPLE, signer=MINERS, height=st.integers(1, 3))
        def double_sign(self, sender, signer, height):
            evidence = double_sign_of(self.world.key(signer), self.world.chain_id, height)
            self.block(self.world.sign(sender, evidence))

        @rule(
            sender=PEOPLE,
            recipient=PEOPLE,
            amount=st.integers(1, 400_000),
            fee=st.integers(5, 50),
            gap=st.integers(0, 2),
        )
        def wait(self, sender, recipient, amount, fee, gap):
            nonce = self.pool.pending_nonce(self.world.address(sender), self.world.state) + gap
            try:
                transaction = self.world.transfer(sender, recipient, amount, fee, nonce)
                self.pool.add(transaction, self.world.state, self.world.timestamp)
            except FedCoinError:
                return

        @rule(limit=st.integers(1, 8), winner=WINNERS)
        def mine_what_waits(self, limit, winner):
            world = self.world
            timestamp = world.timestamp + 1
            self.pool.revalidate(world.state, timestamp)
            chosen = self.pool.select(world.state, timestamp, world.address(winner), world.height + 1, limit)
            world.block(*chosen, winner=winner, timestamp=timestamp)
            self.pool.revalidate(world.state, timestamp)
            assert not {item.id(world.chain_id) for item in chosen} & {
                item.id(world.chain_id) for item in self.pool.transactions()
            }

        @rule(milliseconds=st.integers(1, 20_000))
        def time_passes(self, milliseconds):
            self.block(timestamp=self.world.timestamp + milliseconds)

        def teardown(self):
            world = self.world
            assert supply(world.state) == world.supply
            for record in orders(world.state):
                held = get_account(world.state, escrow_address(record.order_id)).balance
                unsettled = round_prices(record.order)[record.rounds_settled :]
                is_open = record.state is OrderStatus.OPEN
                assert held == (sum(prices.total for prices in unsettled) if is_open else 0)
            unpaid = {case.accused for case in open_cases(world.state) if case.decided}
            for miner in miners(world.state):
                bonded = miner.standing is not MinerStanding.CONVICTED or miner.public_key in unpaid
                bond = get_account(world.state, bond_address(miner.public_key)).balance
                assert bond == (world.params.miner_bond if bonded else 0)

    run_state_machine_as_test(
        Chain,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_two_nodes_that_apply_the_same_blocks_have_the_same_root(new_world):
    roots = []
    for _ in range(2):
        world, draw = new_world(), random.Random(3)
        order_id = world.place(amount=12_345, rounds=3)
        for _ in range(3):
            world.block(world.transfer("alice", "bob", draw.randrange(1, 99)))
            averaged = tuple(draw.randrange(-5, 99) for _ in range(3))
            world.block(task=world.task(order_id), averaged=averaged)
            roots.append(world.state.root())
    assert roots[:3] == roots[3:]
    assert len(set(roots)) == 3
