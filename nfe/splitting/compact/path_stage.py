"""One stage of a compact network: each path on small layers of its own."""

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from nfe.splitting.compact.segments import Fork, Segment
from nfe.splitting.compact.slices import own


class PathStage(nn.Module):
    """The paths of one stage, some of which may fork behind a shared lead.

    Attributes:
        paths: what each path computes, by its number; the trunk's is the last.
        fork: the lead of the paths that leave from the trunk's tensor here; their own first
            segments have none. None: every path has a lead of its own.
    """

    def __init__(self, paths: Mapping[int, nn.Module], fork: Fork | None = None) -> None:
        super().__init__()
        self.paths = nn.ModuleDict({str(path): part for path, part in paths.items()})
        self.fork = fork
        self.trunk = max(paths)

    def forward(self, features: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Map the features of the paths that have left the trunk, and the trunk's, to outputs."""
        trunk = features[self.trunk]
        out: dict[int, Tensor] = {}
        if self.fork is not None:
            pre, inner = self.fork(trunk)
            out = {path: self._behind(path, trunk, pre, part) for path, part in inner.items()}
        for name, part in self.paths.items():
            if int(name) not in out:
                out[int(name)] = part(features.get(int(name), trunk))
        return out

    def one(self, path: int, x: Tensor) -> Tensor:
        """Compute one path alone."""
        if self.fork is None or path not in self.fork.blocks:
            return cast(Tensor, self.paths[str(path)](x))
        return self._behind(path, x, *self.fork.one(path, x))

    def _behind(self, path: int, x: Tensor, pre: Tensor, inner: Tensor) -> Tensor:
        first, *rest = cast(nn.Sequential, self.paths[str(path)])
        x = cast(Segment, first).behind(x, pre, inner)
        for part in rest:
            x = part(x)
        return x

    def alone(self, path: int) -> nn.Module:
        """Return a copy of one path that shares nothing."""
        part = own(self.paths[str(path)])
        if self.fork is not None and path in self.fork.blocks:
            cast(Segment, cast(nn.Sequential, part)[0]).lead = self.fork.alone(path)
        return part
