"""What is known of public data sets besides their arrays: class names, source, terms."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """Names and provenance of a public data set.

    Args:
        classes: the class names in the order of the labels.
        source: who made the data, where they were published.
        license: the terms they are under.
    """

    classes: tuple[str, ...]
    source: str
    license: str


_CIFAR_SOURCE = "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
_CIFAR_LICENSE = "none stated; cite the source"

_CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
_LDRAW_CLASSES = """
animal baseplate boat brick container door headwear hinge neckwear panel plant plate slope
technic_beam technic_gear tile tyre wheel window windscreen
"""

CARDS = {
    "cifar10": Card(tuple(_CIFAR10_CLASSES.split()), _CIFAR_SOURCE, _CIFAR_LICENSE),
    "cifar100": Card(tuple(_CIFAR100_CLASSES.split()), _CIFAR_SOURCE, _CIFAR_LICENSE),
    "imagenette": Card(
        (
            "tench",
            "English springer",
            "cassette player",
            "chain saw",
            "church",
            "French horn",
            "garbage truck",
            "gas pump",
            "golf ball",
            "parachute",
        ),
        "fast.ai, Imagenette: photos of ten ImageNet classes",
        "ImageNet terms (non-commercial research)",
    ),
    "ldraw-parts": Card(
        tuple(_LDRAW_CLASSES.split()),
        "The LDraw Parts Library (LDraw.org), point clouds drawn from its meshes",
        "CC BY 2.0",
    ),
}
"""The data sets that are known by name; arrays of another name get numbers for class names."""
