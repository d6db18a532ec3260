"""That compact fission has no rule for a part of a network."""


class NoRule(Exception):
    """A part cannot be divided into small dense layers: the message says why.

    Its weights are then divided one by one, see ``nfe.splitting.compact.unstructured``.
    """
