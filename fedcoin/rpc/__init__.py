"""gRPC: servicers that decode, delegate and map errors, and clients with the same methods. The only importer of grpc.

A node that answers calls `server.serve(handler, "HOST:PORT")`. One that asks uses `miner_client.MinerClient` or
`server_client.ServerClient`, which have the methods of the protocols in `handlers`.
"""
