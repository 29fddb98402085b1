"""Every error that FedCoin reports, each with a stable code. One rule, one error.

The code is what programs match on (it travels in ErrorInfo.reason and in --json output); the message is for the person
and says what to do. Codes are listed in proto/SPEC.md and never change meaning.
"""

from fedcoin.core.errors.base import *
from fedcoin.core.errors.consensus import *
from fedcoin.core.errors.fraud import *
from fedcoin.core.errors.learning import *
from fedcoin.core.errors.ledger import *
from fedcoin.core.errors.network import *
from fedcoin.core.errors.node import *
from fedcoin.core.errors.training import *
from fedcoin.core.errors.values import *
