"""Builds the examples in proto/vectors/, one module a subject. Every run gives the same bytes."""
