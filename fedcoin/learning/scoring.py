"""How logits are scored, the same for one model and for a batch of coalition models.

Logits have their classes in the last axis but one and samples in the last: [classes, n], or [coalitions, classes, n].
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_LOSS = 100.0
"""A sample's cross-entropy is clipped here, so that one hostile update cannot make every value infinite."""


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Right answers: int64 over the leading axes. Overwrites `logits`.

    An answer is right if the label's logit is strictly above every other. So a tie is wrong, and so is a sample with a
    NaN among its logits, whichever class comes first.
    """
    index = labels.expand((*logits.shape[:-2], 1, labels.shape[0]))
    own = logits.gather(-2, index)
    logits.scatter_(-2, index, -torch.inf)
    return (own > logits.amax(-2, keepdim=True)).sum((-2, -1))


def sum_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over samples of the cross-entropy, each clipped to [0, MAX_LOSS], NaN to MAX_LOSS: float64."""
    index = labels.expand((*logits.shape[:-2], 1, labels.shape[0]))
    losses = logits.logsumexp(-2) - logits.gather(-2, index).squeeze(-2)
    return torch.nan_to_num(losses, nan=MAX_LOSS).clamp_(0.0, MAX_LOSS).sum(-1, dtype=torch.float64)
