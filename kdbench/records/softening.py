"""Soft targets: a network's logits at a temperature, what they tell, and the gradient of distilling them.

For the terminal and the site alike, with numpy only.
"""

from __future__ import annotations

import numpy as np


def soften(logits: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(z / T) of (..., C) logits, in float64."""
    scaled = logits.astype(np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """(..., C) to (...): in nats, from 0 for a certainty to log C for a uniform distribution."""
    p = probabilities
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0).sum(axis=-1)


def confusion(logits: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
    """(C, C) mean soft target of the images of each class: row c is what the network says of class c."""
    soft = soften(logits, temperature)
    return np.stack([soft[labels == c].mean(axis=0) for c in range(logits.shape[1])])


def soft_gradient(student: np.ndarray, teacher: np.ndarray, temperature: float) -> np.ndarray:
    """Gradient of T^2 * KL(softmax(z_t / T) || softmax(z_s / T)) in z_s, an image a row (Hinton et al. 2015, eq. 2)."""
    return temperature * (soften(student, temperature) - soften(teacher, temperature))


def logit_gradient(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """(z_s - z_t) / C of logits whose mean over the C classes is taken off: the limit of T to infinity (eq. 4)."""
    difference = student.astype(np.float64) - teacher
    return (difference - difference.mean(axis=-1, keepdims=True)) / student.shape[-1]


def distance_from_matching(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    """How far the gradient is from that of matching logits: mean length of the difference over that of the latter."""
    limit = logit_gradient(student, teacher)
    gap = soft_gradient(student, teacher, temperature) - limit
    return float(np.linalg.norm(gap, axis=-1).mean() / np.linalg.norm(limit, axis=-1).mean())
