"""FedCoin: a peer-to-peer payment system for federated learning."""

__version__ = "0.1.0"
