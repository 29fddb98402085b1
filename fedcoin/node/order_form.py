"""From what a requester wants to the terms of an order (Alg. 3 lines 1–3) and its evaluation set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fedcoin.core.errors import ConfigInvalid
from fedcoin.core.task import Aggregation, Baseline, Sampler, Utility
from fedcoin.core.transaction import Order, Schedule
from fedcoin.node.chain_defaults import DEFAULT_SAMPLER


@dataclass(frozen=True)
class OrderForm:
    """What a requester says."""

    amount: int
    """V in units."""
    rounds: int
    dataset: str
    """Whose test samples are the evaluation set; its shape and classes are the model's."""
    data_root: Path | None
    model: str
    """A preset, such as softmax, mlp-64, cnn or torchvision:resnet18."""
    shares: tuple[int, int, int] = (7, 1, 2)
    """Division contract TrainPrice : ComPrice : SapPrice (§4.3)."""
    ratio: tuple[int, int] = (1, 1)
    """Each round's price by the one before; 1/1: equal prices."""
    aggregation: Aggregation = Aggregation.UNWEIGHTED
    utility: Utility = Utility.ACCURACY
    baseline: Baseline = Baseline.ZERO
    sampler: Sampler = DEFAULT_SAMPLER
    min_clients: int = 1
    evaluation_samples: int = 0
    """Of the test samples, evenly taken; 0: all."""


def fill_in(form: OrderForm, server: bytes, expiry: int) -> tuple[Order, bytes]:
    """The order for the FL server with address `server`, and its evaluation set as safetensors.

    `expiry`: milliseconds since 1970. Raises ConfigInvalid and the errors of load_dataset and preset.
    """
    from fedcoin.learning.datasets import load_dataset
    from fedcoin.learning.evaluation_set import encode_evaluation_set
    from fedcoin.learning.models import preset

    data = load_dataset(form.dataset, form.data_root)
    x, y = data.x_test, data.y_test
    if form.evaluation_samples > len(y):
        raise ConfigInvalid(f"{data.name} has {len(y)} test samples, {form.evaluation_samples} are wanted")
    if form.evaluation_samples:
        chosen = [len(y) * number // form.evaluation_samples for number in range(form.evaluation_samples)]
        x, y = x[chosen], y[chosen]
    evaluation_set = encode_evaluation_set(x, y)
    equal = form.ratio[0] == form.ratio[1]
    order = Order(
        server=server,
        amount=form.amount,
        train_share=form.shares[0],
        com_share=form.shares[1],
        sap_share=form.shares[2],
        rounds=form.rounds,
        schedule=Schedule.EQUAL if equal else Schedule.GEOMETRIC,
        ratio_numerator=1 if equal else form.ratio[0],
        ratio_denominator=1 if equal else form.ratio[1],
        model=preset(form.model, data.input_shape, data.classes),
        aggregation=form.aggregation,
        utility=form.utility,
        baseline=form.baseline,
        sampler=form.sampler,
        evaluation_set=hashlib.sha256(evaluation_set).digest(),
        min_clients=form.min_clients,
        expiry=expiry,
    )
    return order, evaluation_set
