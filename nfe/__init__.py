"""Network Fission Ensembles and the benchmark that they stand in."""

from nfe.network import FissionNetwork, fission

__all__ = ["FissionNetwork", "fission"]
