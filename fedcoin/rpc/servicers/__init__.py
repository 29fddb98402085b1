"""One small class per service: decode, delegate, encode. Limits and errors are the guard's."""
