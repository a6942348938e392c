"""Weights by formula, so that a large network needs no large file: tests/it/hash_weights.rs
computes the same numbers bit for bit.

Parameter `name` has the key fnv1a64(name). Element i is

    u = (splitmix64(key + i) >> 40) / 2**23 - 1        in [-1, 1), exact in f32

and the value, rounded once to f32,
    u / sqrt(fan_in)     if it has more than one dimension (fan_in: elements of p[0])
    1 + 0.1 u            if it is the weight of a norm
    0.1 u                otherwise.
"""

import numpy as np

U64 = np.uint64


def fnv1a64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def splitmix64(z):
    z = z + U64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


def hash_weights(name, shape):
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        bits = splitmix64(U64(fnv1a64(name)) + np.arange(n, dtype=U64)) >> U64(40)
    u = bits.astype(np.float64) / 2**23 - 1
    if len(shape) > 1:
        value = u / np.sqrt(float(np.prod(shape[1:])))
    elif name.endswith(".weight") and "norm" in name:
        value = 1 + 0.1 * u
    else:
        value = 0.1 * u
    return value.astype(np.float32).reshape(shape)
