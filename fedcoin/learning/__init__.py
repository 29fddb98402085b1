"""Federated learning: data, models, local training, FedAvg, the weight codec and the coalition evaluator.

The only package that imports torch. It runs without grpc, rocksdict and ecdsa, so that the evaluator can be measured
alone on a machine with a GPU.
"""
