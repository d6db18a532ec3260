"""What the classes of a data set are called."""

from pathlib import Path

from nfe import data as datasets
from nfe.common import strict_yaml
from nfe.data.base import Card
from nfe.data.tiny_imagenet import INDEX, Index

_NAMES = Path(__file__).with_name("class_names.yaml")


def class_names(card: Card) -> tuple[str, ...]:
    """Return the names of a card's classes in order; Tiny ImageNet's are WordNet identifiers."""
    if card.name == "tiny-imagenet":
        names = Index.read(INDEX).wnids
    else:
        names = tuple(strict_yaml.load(_NAMES)[card.name])
    return tuple(names[label] for label in datasets.labels(card))
