"""The two forms of a network for photographs: for small images, and for ImageNet's."""

from typing import Literal, get_args

from modeldeed.errors import OptionError

__all__ = ["IMAGE_FORMS", "ImageForm", "is_imagenet"]

ImageForm = Literal["cifar", "imagenet"]
"""``"cifar"`` keeps the resolution of small images, 32x32 for one, in the first layers;
``"imagenet"`` is the network as published for 224x224, which gives it up at once."""

IMAGE_FORMS: tuple[ImageForm, ...] = get_args(ImageForm)
"""The values of :data:`ImageForm`."""


def is_imagenet(form: ImageForm) -> bool:
    """Tell the forms apart.

    Args:
        form: one of :data:`IMAGE_FORMS`.

    Returns:
        True for ``"imagenet"``, False for ``"cifar"``.

    Raises:
        OptionError: ``form`` is neither.

    Example:
        >>> is_imagenet("cifar")
        False
    """
    if form not in IMAGE_FORMS:
        raise OptionError(f"form: got {form!r}; choose one of {', '.join(map(repr, IMAGE_FORMS))}")
    return form == "imagenet"
