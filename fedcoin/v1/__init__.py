"""Protobuf messages and gRPC stubs of package fedcoin.v1, written by tools/gen_protos.py. Do not edit."""
