"""What tools/fuzz.py is made of: forged messages, nodes to send them to, connections that break the rules."""
