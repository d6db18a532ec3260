"""The plug-in interface: all that a method of the benchmark is written with."""

from nfe.common.settings import check_number, check_whole
from nfe.method.interface import Context, Members, Method, method_class, method_names
from nfe.method.optimizer import SGD
from nfe.method.recipe import Recipe
from nfe.method.sequential import SequentialMembers
from nfe.method.step import Step

__all__ = [
    "SGD",
    "Context",
    "Members",
    "Method",
    "Recipe",
    "SequentialMembers",
    "Step",
    "check_number",
    "check_whole",
    "method_class",
    "method_names",
]
