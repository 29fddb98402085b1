"""What a node keeps on disk: one RocksDB database for each role. The only package that imports rocksdict."""
