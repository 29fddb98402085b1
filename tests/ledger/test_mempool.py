import pytest

from fedcoin.core.errors import (
    InsufficientFunds,
    InvalidSignature,
    MempoolFull,
    MinerAlreadyRegistered,
    NonceTooHigh,
    NonceUsed,
    OrderAmountTooSmall,
    OrderExpired,
    ReplacementFeeTooLow,
    SenderLimitExceeded,
    TransactionKnown,
)
from fedcoin.core.fraud import FraudVote
from fedcoin.core.transaction import TRANSACTION, MinerLeave, MinerRegistration
from fedcoin.ledger import mempool
from fedcoin.ledger.mempool import MAX_NONCE_GAP, MAX_PER_SENDER, Mempool
from tests.support.accusations import double_sign_of, report_of


@pytest.fixture
def pool(world):
    return Mempool(world.chain_id, world.params, 1000)


def add(world, pool, *transactions):
    for transaction in transactions:
        pool.add(transaction, world.state, world.timestamp)


def select(world, pool, limit=100, max_bytes=None, timestamp=None):
    timestamp = world.timestamp if timestamp is None else timestamp
    return pool.select(world.state, timestamp, world.address("miner0"), world.height + 1, limit, max_bytes)


def test_added_transaction_is_found_by_id(world, pool):
    transaction = world.transfer("alice", "bob", 1)
    txid = pool.add(transaction, world.state, world.timestamp)
    assert txid == transaction.id(world.chain_id)
    assert pool.get(txid) == transaction
    assert (txid in pool, len(pool), pool.transactions()) == (True, 1, (transaction,))
    assert pool.get(bytes(32)) is None


def test_the_same_transaction_is_taken_once(world, pool):
    add(world, pool, world.transfer("alice", "bob", 1))
    with pytest.raises(TransactionKnown):
        add(world, pool, world.transfer("alice", "bob", 1))


def test_select_takes_high_fees_first_but_each_senders_nonces_in_order(world, pool):
    a0 = world.transfer("alice", "carol", 1, fee=10, nonce=0)
    a1 = world.transfer("alice", "carol", 1, fee=90, nonce=1)
    b0 = world.transfer("bob", "carol", 1, fee=50, nonce=0)
    b1 = world.transfer("bob", "carol", 1, fee=5, nonce=1)
    add(world, pool, b1, a1, b0, a0)
    assert select(world, pool) == (b0, a0, a1, b1)
    assert select(world, pool, limit=2) == (b0, a0)


def test_equal_fees_go_by_arrival(world, pool):
    transactions = [world.transfer(name, "dora", 1) for name in ("carol", "alice", "bob")]
    add(world, pool, *transactions)
    assert select(world, pool) == tuple(transactions)


def test_select_respects_the_bytes_left(world, pool):
    big = world.sign("requester", world.order(), fee=100)
    small = world.transfer("alice", "bob", 1)
    add(world, pool, big, small)
    assert select(world, pool, max_bytes=len(TRANSACTION.encode(big))) == (big,)
    assert select(world, pool, max_bytes=len(TRANSACTION.encode(small))) == (small,)
    assert select(world, pool, max_bytes=0) == ()


def test_select_leaves_the_state_as_it_is_and_its_choice_is_a_valid_block(world, pool):
    add(
        world,
        pool,
        world.sign("requester", world.order()),
        world.sign("alice", MinerRegistration("a")),
        world.sign("alice", MinerRegistration("b"), nonce=1),
        world.transfer("bob", "carol", 5),
        world.transfer("bob", "carol", 5, nonce=2),
    )
    before = world.state.entries()
    chosen = select(world, pool)
    assert world.state.entries() == before
    assert len(chosen) == 3
    world.block(*chosen)


def test_nonce_gap_waits_until_it_is_filled(world, pool):
    late = world.transfer("alice", "bob", 1, nonce=1)
    add(world, pool, late)
    assert select(world, pool) == ()
    assert pool.pending_nonce(world.address("alice"), world.state) == 0
    first = world.transfer("alice", "bob", 2, nonce=0)
    add(world, pool, first)
    assert select(world, pool) == (first, late)
    assert pool.pending_nonce(world.address("alice"), world.state) == 2


def test_nonce_gaps_are_limited(world, pool):
    add(world, pool, world.transfer("alice", "bob", 1, nonce=MAX_NONCE_GAP))
    with pytest.raises(NonceTooHigh, match="next one is 0"):
        add(world, pool, world.transfer("alice", "bob", 1, nonce=MAX_NONCE_GAP + 1))


def test_used_nonce_is_refused(world, pool):
    world.block(world.transfer("alice", "bob", 1))
    with pytest.raises(NonceUsed):
        add(world, pool, world.transfer("alice", "carol", 1, nonce=0))


def test_replacement_pays_a_tenth_more(world, pool):
    old = world.transfer("alice", "bob", 1, fee=100)
    add(world, pool, old)
    with pytest.raises(ReplacementFeeTooLow, match="110 units"):
        add(world, pool, world.transfer("alice", "carol", 1, fee=109))
    new = world.transfer("alice", "carol", 1, fee=110)
    add(world, pool, new)
    assert pool.transactions() == (new,)
    assert old.id(world.chain_id) not in pool
    assert select(world, pool) == (new,)


def test_replacement_frees_what_the_replaced_one_would_have_spent(world, pool):
    add(world, pool, world.transfer("alice", "bob", world.balance("alice") - 10))
    add(world, pool, world.transfer("alice", "bob", world.balance("alice") - 20, fee=20))
    assert len(pool) == 1


def test_waiting_transactions_cannot_spend_twice(world, pool):
    add(world, pool, world.transfer("alice", "bob", world.balance("alice") - 100))
    with pytest.raises(InsufficientFunds):
        add(world, pool, world.transfer("alice", "carol", 100, nonce=1))


def test_a_sender_has_a_limit(world, pool):
    add(world, pool, *(world.transfer("alice", "bob", 1, nonce=i) for i in range(MAX_PER_SENDER)))
    with pytest.raises(SenderLimitExceeded):
        add(world, pool, world.transfer("alice", "bob", 1, nonce=MAX_PER_SENDER))
    add(world, pool, world.transfer("alice", "bob", 1, nonce=3, fee=1000))


def test_full_pool_takes_only_higher_fees_and_drops_the_lowest(world):
    pool = Mempool(world.chain_id, world.params, 3)
    low = world.transfer("alice", "dora", 1, fee=10)
    after_low = world.transfer("alice", "dora", 1, fee=99, nonce=1)
    add(world, pool, low, after_low, world.transfer("bob", "dora", 1, fee=20))
    with pytest.raises(MempoolFull, match="10 units or more"):
        add(world, pool, world.transfer("carol", "dora", 1, fee=10))
    assert len(pool) == 3
    with pytest.raises(MempoolFull):
        add(world, pool, world.transfer("alice", "dora", 1, fee=500, nonce=2))
    add(world, pool, world.transfer("carol", "dora", 1, fee=11))
    assert {transaction.fee for transaction in pool.transactions()} == {20, 11}
    add(world, pool, world.transfer("bob", "dora", 1, fee=22))
    assert {transaction.fee for transaction in pool.transactions()} == {22, 11}


def test_invalid_ones_never_come_in(world, pool):
    foreign = world.transfer("alice", "bob", 1)
    for transaction, error in [
        (TRANSACTION.decode(TRANSACTION.encode(foreign)[:-64] + bytes(64)), InvalidSignature),
        (world.sign("requester", world.order(amount=1)), OrderAmountTooSmall),
        (world.sign("requester", world.order(expiry=world.timestamp)), OrderExpired),
        (world.sign("miner0", MinerRegistration("again")), MinerAlreadyRegistered),
        (world.transfer("nobody", "bob", 1), InsufficientFunds),
    ]:
        with pytest.raises(error):
            add(world, pool, transaction)
    assert len(pool) == 0


def test_revalidate_drops_what_a_block_has_included_or_outdated(world, pool):
    included = world.transfer("alice", "bob", 1, nonce=0)
    next_one = world.transfer("alice", "bob", 1, nonce=1)
    rival = world.transfer("carol", "bob", 7)
    expiring = world.sign("requester", world.order(expiry=world.timestamp + 10))
    add(world, pool, included, next_one, rival, expiring)
    world.block(included, world.transfer("carol", "dora", 3))
    dropped = pool.revalidate(world.state, world.timestamp)
    assert set(dropped) == {item.id(world.chain_id) for item in (included, rival, expiring)}
    assert pool.transactions() == (next_one,)
    assert pool.revalidate(world.state, world.timestamp) == ()


def test_revalidate_drops_what_can_no_longer_be_paid(world, pool):
    half = world.balance("alice") // 2
    add(world, pool, *(world.transfer("alice", "bob", half - 100, nonce=i) for i in (1, 2)))
    world.block(world.transfer("alice", "carol", half))
    pool.revalidate(world.state, world.timestamp)
    assert [transaction.nonce for transaction in pool.transactions()] == [1]


def test_select_skips_an_order_that_has_expired_meanwhile(world, pool):
    add(world, pool, world.sign("requester", world.order(expiry=world.timestamp + 10)))
    assert len(select(world, pool)) == 1
    assert select(world, pool, timestamp=world.timestamp + 10) == ()


def test_undone_transactions_come_back_in_place_of_rivals(world, pool):
    before = world.state.entries()
    undone = world.transfer("alice", "bob", 1)
    rival = world.transfer("alice", "carol", 9, fee=500)
    world.block(undone)
    world.state.apply({key: before.get(key) for key in world.state.entries()})
    add(world, pool, rival)
    pool.restore([undone])
    assert pool.revalidate(world.state, world.timestamp) == ()
    assert pool.transactions() == (undone,)
    pool.restore([undone])
    assert select(world, pool) == (undone,)


def test_restore_keeps_to_the_capacity(world):
    pool = Mempool(world.chain_id, world.params, 3)
    pool.restore(world.transfer("alice", "bob", 1, fee=10 + i, nonce=i) for i in range(2))
    pool.restore(world.transfer("bob", "carol", 1, fee=20 + i, nonce=i) for i in range(3))
    assert [transaction.fee for transaction in pool.transactions()] == [20, 21, 22]


def test_many_replacements_do_not_make_the_pool_grow(world):
    pool = Mempool(world.chain_id, world.params, 2)
    fee = 10
    for _ in range(100):
        pool.add(world.transfer("alice", "bob", 1, fee=fee), world.state, world.timestamp)
        fee += max(1, fee // 10)
    assert len(pool) == 1
    assert len(pool._cheapest) <= 70


def test_a_pool_holds_something(world):
    with pytest.raises(ValueError, match="at least 1"):
        Mempool(world.chain_id, world.params, 0)


def test_bonds_count_among_what_a_sender_can_pay(world, pool):
    everything = world.balance("alice") - world.params.miner_bond - 20
    registration = world.sign("alice", MinerRegistration("a"), nonce=1)
    add(world, pool, world.transfer("alice", "bob", everything + 1, nonce=0))
    with pytest.raises(InsufficientFunds):
        add(world, pool, registration)
    add(world, pool, world.transfer("alice", "bob", everything, fee=11, nonce=0))
    with pytest.raises(InsufficientFunds):
        add(world, pool, registration)
    world.block(world.transfer("carol", "alice", 1))
    add(world, pool, registration)
    assert len(select(world, pool)) == 2


def test_revalidate_drops_what_a_conviction_has_made_pointless(world, pool):
    made = report_of(world.key("miner2"), world.chain_id)
    world.block(world.sign("miner0", made))
    evidence = double_sign_of(world.key("miner2"), world.chain_id)
    waiting = (
        world.sign("miner1", FraudVote(made.id(world.chain_id))),
        world.sign("miner2", MinerLeave()),
        world.sign("bob", evidence),
    )
    add(world, pool, *waiting)
    assert select(world, pool) == waiting[:1], "the vote convicts, and the others have become pointless"
    world.block(world.sign("alice", evidence))
    assert set(pool.revalidate(world.state, world.timestamp)) == {each.id(world.chain_id) for each in waiting}


def test_of_two_double_signatures_of_one_miner_a_block_takes_the_better_paid(world, pool):
    one, two = (double_sign_of(world.key("miner2"), world.chain_id, height) for height in (1, 2))
    cheap, dear = world.sign("alice", one, fee=10), world.sign("bob", two, fee=20)
    add(world, pool, cheap, dear)
    assert select(world, pool) == (dear,)


def test_transactions_behind_gaps_of_nonces_keep_out_nobody_whatever_they_would_pay(world):
    """Nobody pays for them as long as the gap is not filled, so for nothing they would keep out votes with the least
    fee."""
    pool = Mempool(world.chain_id, world.params, 5)
    waiting = [world.transfer("alice", "bob", 1, fee=100 + nonce, nonce=nonce) for nonce in (1, 2, 3)]
    others = [world.transfer("carol", "bob", 1, fee=9, nonce=nonce) for nonce in (0, 1)]
    add(world, pool, *waiting, *others)
    with pytest.raises(MempoolFull, match="before this one first"):
        add(world, pool, world.transfer("bob", "carol", 1, fee=1000, nonce=1))
    cheap = [world.transfer("bob", "carol", 1, fee=5, nonce=nonce) for nonce in (0, 1, 2)]
    for place, transaction in enumerate(cheap):
        add(world, pool, transaction)
        assert set(pool.transactions()) == {*waiting[place + 1 :], *others, *cheap[: place + 1]}
    with pytest.raises(MempoolFull, match="a fee of 5 units"):
        add(world, pool, world.transfer("requester", "carol", 1, fee=5))


def test_a_gap_that_is_filled_protects_what_was_behind_it(world):
    pool = Mempool(world.chain_id, world.params, 4)
    late, first = (world.transfer("alice", "bob", 1, fee=50, nonce=nonce) for nonce in (1, 0))
    other = world.transfer("requester", "bob", 1, fee=60, nonce=3)
    carols = [world.transfer("carol", "bob", 1, fee=40, nonce=nonce) for nonce in (0, 1)]
    add(world, pool, late, other, *carols)
    add(world, pool, first)
    assert set(pool.transactions()) == {late, first, *carols}
    with pytest.raises(MempoolFull, match="a fee of 40 units"):
        add(world, pool, world.transfer("bob", "carol", 1, fee=10))


def test_what_comes_behind_a_gap_later_makes_room_too(world):
    pool = Mempool(world.chain_id, world.params, 2)
    add(world, pool, world.transfer("alice", "bob", 1, fee=50, nonce=1), world.transfer("carol", "bob", 1, fee=40))
    add(world, pool, world.transfer("bob", "carol", 1, fee=10))
    pool.revalidate(world.state, world.timestamp)
    assert len(pool) == 2
    with pytest.raises(MempoolFull, match="a fee of 10 units"):
        add(world, pool, world.transfer("requester", "carol", 1, fee=10))
    world.block(world.transfer("carol", "bob", 1, fee=40))
    pool.revalidate(world.state, world.timestamp)
    add(world, pool, world.transfer("alice", "bob", 1, fee=50, nonce=1))
    newest = world.transfer("requester", "carol", 1, fee=10)
    add(world, pool, newest)
    assert len(pool) == 2
    assert newest in pool.transactions()


def test_reports_and_double_signatures_take_no_more_than_their_share(world, pool, monkeypatch):
    """They are a hundred times as large as others, and of many double signatures of one miner one pays its fee."""
    monkeypatch.setattr(mempool, "MAX_EVIDENCE", 3)
    evidence = [double_sign_of(world.key("miner2"), world.chain_id, height) for height in range(1, 7)]
    first = [world.sign("alice", evidence[index], fee=20, nonce=nonce) for index, nonce in ((0, 0), (1, 2))]
    add(world, pool, *first, world.sign("bob", evidence[2], fee=10))
    dear = world.sign("carol", evidence[3], fee=15)
    add(world, pool, dear)  # in place of the one behind a gap, although that would pay more
    assert first[1] not in pool.transactions()
    with pytest.raises(MempoolFull, match="3 reports"):
        add(world, pool, world.sign("requester", evidence[4], fee=10))
    with pytest.raises(MempoolFull, match="3 reports"):
        add(world, pool, world.sign("requester", evidence[4], fee=100, nonce=1))
    dearer = world.sign("requester", evidence[4], fee=11)
    add(world, pool, dearer, world.transfer("bob", "carol", 1))
    assert {first[0], dear, dearer} < set(pool.transactions())
    assert len(pool) == 4
    replaced = world.sign("carol", evidence[5], fee=30)
    add(world, pool, replaced)
    world.block(first[0])
    pool.revalidate(world.state, world.timestamp)
    assert len(pool) == 1, "the miner is convicted, and the rest is worth nothing"
    assert not pool._evidence
