"""What the classes of a data set are called."""

from pathlib import Path

from nfe import data as datasets
from nfe.common import strict_yaml
from nfe.common.errors import InputError
from nfe.data.base import Card
from nfe.data.tiny_imagenet import INDEX, Index

_NAMES = Path(__file__).with_name("class_names.yaml")


def class_names(card: Card) -> tuple[str, ...]:
    """Return the names of a card's classes in order; Tiny ImageNet's are WordNet identifiers.

    Raises:
        InputError: the data set's classes have no names.
    """
    names = datasets.dataset(card.name).class_names
    if names:
        return tuple(names[label] for label in datasets.labels(card))
    if card.name == "tiny-imagenet":
        names = tuple(Index.read(INDEX).wnids)
    else:
        names = tuple(strict_yaml.load(_NAMES).get(card.name, ()))
    wanted = datasets.whole(card).classes
    if len(names) != wanted:
        raise InputError(
            f"{_NAMES}: {len(names)} class names of {card.name}: allowed: its {wanted}, "
            "in the order of their numbers"
        )
    return tuple(names[label] for label in datasets.labels(card))
