"""Data sets for benchmarks, examples and judges: readers, balanced subsets, augmentation.

Nothing is ever downloaded and nothing is ever unpickled: a reader opens the files at the path it is
given, checks them, and returns a :class:`Dataset` of tensors. The package carries no data itself;
:func:`digits` comes with scikit-learn.
"""

from ._augment import augment_images, augment_points
from ._batches import batches
from ._cifar import cifar10, cifar100
from ._dataset import Dataset
from ._digits import digits
from ._images import image_folder
from ._load import load
from ._points import point_clouds

__all__ = [
    "Dataset",
    "augment_images",
    "augment_points",
    "batches",
    "cifar10",
    "cifar100",
    "digits",
    "image_folder",
    "load",
    "point_clouds",
]
