"""Shapley values as PoSap needs them: permutations, running means, distances, leaves, exact values."""
