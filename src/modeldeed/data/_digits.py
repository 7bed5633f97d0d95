"""The handwritten digits that come with scikit-learn."""

import torch
from torch import Tensor

from ._dataset import Dataset
from ._extras import import_extra

_TEST_SAMPLES = 397


def digits() -> Dataset:
    """Return the 8x8 handwritten digits: 1,400 training and 397 test images, ten classes.

    The split is a fixed rule without randomness: each class gives its share of the test part,
    evenly spaced over its stored order. That order follows the writers, so both parts have all of
    them; the test part measures new images, not new writers.

    Returns:
        Images float32 ``(N, 1, 8, 8)`` in [0, 1], in the stored order.

    Raises:
        MissingExtraError: scikit-learn is not installed.

    Reference:
        E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
        Repository, 1998: its test part of 1,797 images, as scikit-learn ships it.

    Example:
        >>> digits()
        Dataset('digits', 1400 train, 397 test, each (1, 8, 8), 10 classes)
    """
    bunch = import_extra("sklearn.datasets", "scikit-learn", "demo").load_digits()
    # The stored values are whole numbers from 0 to 16.
    x = torch.from_numpy(bunch.images).to(torch.float32).div_(16).unsqueeze(1)
    y = torch.from_numpy(bunch.target).to(torch.int64)
    test = _evenly_spaced(y, _TEST_SAMPLES)
    return Dataset(
        name="digits",
        x_train=x[~test],
        y_train=y[~test],
        x_test=x[test],
        y_test=y[test],
        classes=tuple("0123456789"),
        source="E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998",
        license="CC BY 4.0",
    )


def _evenly_spaced(labels: Tensor, number: int) -> Tensor:
    """Mark ``number`` samples, each class its share (largest remainders), evenly spaced."""
    counts = torch.bincount(labels)
    quotas, remainders = counts * number // len(labels), counts * number % len(labels)
    largest = torch.argsort(remainders, descending=True, stable=True)
    quotas[largest[: number - int(quotas.sum())]] += 1
    marked = torch.zeros(len(labels), dtype=torch.bool)
    for label, (count, quota) in enumerate(zip(counts.tolist(), quotas.tolist(), strict=True)):
        steps = [(2 * i + 1) * count // (2 * quota) for i in range(quota)]
        marked[(labels == label).nonzero().flatten()[steps]] = True
    return marked
