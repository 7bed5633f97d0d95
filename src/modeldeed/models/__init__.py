"""The reference networks of the passport and plug-in papers, as plain PyTorch modules.

They serve as hosts in benchmarks, examples and tests. Nothing in them knows of passports: they are
the ordinary architectures, so what is measured on them holds for a user's own network. Every
normalization is an ``nn`` module that one forward calls exactly once, and no weight is held twice.
"""

from ._alexnet import AlexNet, alexnet
from ._forms import IMAGE_FORMS, ImageForm
from ._mobilenet import MobileNetV2, mobilenet_v2
from ._norms import NORM_KINDS, NormKind, make_norm
from ._pointnet import PointNet, orthogonality, pointnet
from ._resnet import ResNet, resnet18, resnet50, resnet_small
from ._vgg import VGG, vgg16

__all__ = [
    "IMAGE_FORMS",
    "NORM_KINDS",
    "VGG",
    "AlexNet",
    "ImageForm",
    "MobileNetV2",
    "NormKind",
    "PointNet",
    "ResNet",
    "alexnet",
    "make_norm",
    "mobilenet_v2",
    "orthogonality",
    "pointnet",
    "resnet18",
    "resnet50",
    "resnet_small",
    "vgg16",
]
