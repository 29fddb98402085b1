"""Parts of tools/load.py: a local network of miners under load, and what is seen of it."""
