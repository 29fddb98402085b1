"""What a local network would stumble over is told before any process starts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedcoin.core.errors import FedCoinError
from fedcoin.node.localnet_plan import LocalnetPlan

PLAN = LocalnetPlan(clients=3, model="softmax")


def test_usual_terms_are_fine() -> None:
    PLAN.check_order()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "foo"}, "UNKNOWN_MODEL"),
        ({"budget": 0}, "AMOUNT_OUT_OF_RANGE"),
        ({"budget": 1}, "ORDER_AMOUNT_TOO_SMALL"),
        ({"sampler": "exact", "clients": 21}, "ORDER_SAMPLER_DOES_NOT_FIT"),
        ({"dataset": "/nowhere.npz"}, "DATASET_NOT_FOUND"),
    ],
)
def test_terms_that_would_be_refused_later(change: dict[str, object], code: str) -> None:
    with pytest.raises(FedCoinError) as caught:
        replace(PLAN, **change).check_order()  # type: ignore[arg-type]
    assert caught.value.code == code
