"""The rules of a round, without anything around them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedcoin.core.errors import (
    ClientInvalid,
    ClientNotSelected,
    MalformedEncoding,
    RoundNotOpen,
    UpdateConflict,
    UpdateWrongBase,
)
from fedcoin.core.task import UpdateCommitment
from fedcoin.node.rounds import (
    ROUND,
    Round,
    RoundPhase,
    RoundSettings,
    Submission,
    check_hand_in,
    close_if_due,
    hand_in,
    needs_reopening,
    open_round,
    reopen,
)

ORDER, BASE = b"o" * 32, b"b" * 32
CLIENTS = [bytes([2, index]) + bytes(31) for index in range(10)]
SETTINGS = RoundSettings(clients_per_round=0, deadline_ms=1000, seed=7)


def opened(count: int = 3, settings: RoundSettings = SETTINGS, least: int = 2) -> Round:
    return open_round(ORDER, 0, BASE, CLIENTS[:count], least, settings, 5000)


def update(client: int, content: int = 0, samples: int = 10) -> tuple[Submission, UpdateCommitment]:
    digest = bytes([content, client]) + bytes(30)
    return (
        Submission(CLIENTS[client], digest, samples, bytes(64)),
        UpdateCommitment(ORDER, 0, BASE, digest, samples),
    )


def with_updates(round_: Round, *clients: int) -> Round:
    for client in clients:
        round_ = hand_in(round_, *update(client), 5500)
    return round_


def test_closes_when_all_selected_have_handed_in() -> None:
    round_ = with_updates(opened(), 0, 1)
    assert close_if_due(round_, 2, 5500).phase is RoundPhase.OPEN
    assert close_if_due(with_updates(round_, 2), 2, 5500).phase is RoundPhase.CLOSED


def test_closes_at_the_deadline_with_enough_updates() -> None:
    round_ = with_updates(opened(), 0, 2)
    assert close_if_due(round_, 2, 6000).phase is RoundPhase.OPEN
    assert close_if_due(round_, 2, 6001).phase is RoundPhase.CLOSED
    assert not needs_reopening(round_, 2, 6001)


def test_is_reopened_at_the_deadline_with_too_few_and_keeps_what_it_has() -> None:
    round_ = with_updates(opened(), 1)
    assert close_if_due(round_, 2, 6001) is round_
    assert needs_reopening(round_, 2, 6001)
    again = reopen(round_, CLIENTS[3:5], 2, SETTINGS, 6001)
    assert again.selected == (CLIENTS[1], CLIENTS[3], CLIENTS[4])
    assert (again.attempt, again.deadline, again.submissions) == (1, 7001, round_.submissions)
    assert close_if_due(with_updates(again, 3, 4), 2, 6500).phase is RoundPhase.CLOSED


def test_a_round_without_any_update_never_closes() -> None:
    assert needs_reopening(opened(least=0), 0, 6001)
    assert close_if_due(opened(least=0), 0, 6001).phase is RoundPhase.OPEN


def test_submissions_stand_in_the_order_of_the_shapley_vector() -> None:
    round_ = with_updates(opened(), 2, 0, 1)
    assert [item.public_key for item in round_.submissions] == CLIENTS[:3]
    assert [ref.digest for ref in round_.update_refs] == [update(client)[0].digest for client in range(3)]


def test_the_same_update_again_changes_nothing_even_when_closed() -> None:
    round_ = with_updates(opened(), 0)
    assert hand_in(round_, *update(0), 5600) is round_
    closed = replace(round_, phase=RoundPhase.CLOSED)
    assert hand_in(closed, *update(0), 9999) is closed


def test_another_update_of_the_same_client_is_refused() -> None:
    with pytest.raises(UpdateConflict):
        hand_in(with_updates(opened(), 0), *update(0, content=1), 5600)
    with pytest.raises(UpdateConflict):
        hand_in(with_updates(opened(), 0), *update(0, samples=11), 5600)


def test_late_unselected_and_foreign_updates_are_refused() -> None:
    submission, commitment = update(0)
    with pytest.raises(RoundNotOpen, match="deadline"):
        check_hand_in(opened(), submission, commitment, 6001)
    with pytest.raises(RoundNotOpen, match="closed"):
        check_hand_in(replace(opened(), phase=RoundPhase.CLOSED), submission, commitment, 5500)
    with pytest.raises(ClientNotSelected):
        check_hand_in(opened(), *update(5), 5500)
    with pytest.raises(UpdateWrongBase):
        check_hand_in(opened(), submission, replace(commitment, base_model=b"x" * 32), 5500)
    with pytest.raises(ClientInvalid):
        check_hand_in(opened(), *update(0, samples=0), 5500)


def test_selection_is_seeded_and_honours_count_and_least() -> None:
    few = replace(SETTINGS, clients_per_round=4)
    chosen = opened(10, few).selected
    assert len(chosen) == 4
    assert chosen == tuple(sorted(chosen))
    assert opened(10, few).selected == chosen
    assert any(opened(10, replace(few, seed=seed)).selected != chosen for seed in range(3))
    assert len(opened(10, few, least=6).selected) == 6
    assert len(opened(10).selected) == 10


def test_no_more_clients_are_selected_than_the_sampler_serves() -> None:
    for wanted in (0, 5, 10):
        settings = replace(SETTINGS, clients_per_round=wanted)
        round_ = open_round(ORDER, 0, BASE, CLIENTS, 2, settings, 5000, max_clients=4)
        assert len(round_.selected) == 4
        one = with_updates(round_, CLIENTS.index(round_.selected[0]))
        again = reopen(one, CLIENTS, 2, settings, 7000, max_clients=4)
        assert len(again.selected) == 4
        assert round_.selected[0] in again.selected


def test_a_round_is_kept_and_read_back_exactly() -> None:
    round_ = replace(with_updates(opened(), 0, 1), model=b"m" * 32, accuracy=5, settled_block=b"s" * 32)
    assert ROUND.decode(ROUND.encode(round_)) == round_
    with pytest.raises(MalformedEncoding):
        ROUND.decode(ROUND.encode(round_) + b"x")
