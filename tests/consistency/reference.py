"""Losses and gradients of a linear softmax model in plain NumPy, float64: what the papers write, and nothing else."""

from __future__ import annotations

import numpy as np


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def one_hot(y, classes):
    return np.eye(classes)[y]


def sharpen(p, temperature):
    powers = p ** (1.0 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


class Linear:
    """p(x) = softmax(x W + b); losses are kept as values and as gradients for W and b."""

    def __init__(self, kernel, bias):
        self.kernel, self.bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
        self.loss, self.d_kernel, self.d_bias = 0.0, np.zeros_like(self.kernel), np.zeros_like(self.bias)

    def logits(self, x):
        return np.asarray(x, np.float64) @ self.kernel + self.bias

    def p(self, x):
        return softmax(self.logits(x))

    def add(self, value, x, d_logits, factor=1.0):
        """Adds a loss and, by the chain rule, its gradient."""
        self.loss += factor * value
        self.d_kernel += factor * np.asarray(x, np.float64).T @ d_logits
        self.d_bias += factor * d_logits.sum(axis=0)

    def add_cross_entropy(self, x, targets, weights=None, factor=1.0):
        """1/n sum_i w_i H(t_i, p(x_i))."""
        p, n = self.p(x), len(x)
        weights = np.ones(n) if weights is None else np.asarray(weights, np.float64)
        value = -(weights * (targets * np.log(p)).sum(axis=1)).sum() / n
        self.add(value, x, weights[:, None] * (p - targets) / n, factor)

    def add_mse(self, x, targets, factor=1.0):
        """1/(K n) sum_i |t_i - p(x_i)|^2."""
        p, (n, classes) = self.p(x), targets.shape
        value = ((targets - p) ** 2).sum() / (n * classes)
        self.add(value, x, through_softmax(p, 2.0 * (p - targets) / (n * classes)), factor)

    def add_divergence(self, x, targets, factor=1.0):
        """1/n sum_i KL(t_i || p(x_i))."""
        self.add_cross_entropy(x, targets, factor=factor)
        self.loss += factor * (targets * np.log(targets)).sum() / len(x)

    def add_entropy(self, x, factor=1.0):
        """1/n sum_i H(p(x_i), p(x_i))."""
        p, n = self.p(x), len(x)
        self.add(-(p * np.log(p)).sum() / n, x, through_softmax(p, -(np.log(p) + 1.0) / n), factor)


def through_softmax(p, d_p):
    """The gradient for the logits, given that for the probabilities."""
    return p * (d_p - (d_p * p).sum(axis=1, keepdims=True))
