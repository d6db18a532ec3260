"""How wide and how grouped a backbone is: the one way in which methods restructure it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfe.common.errors import InputError

if TYPE_CHECKING:
    from torch import nn


class Structure:
    """The plain form of every backbone. A subclass changes widths or groups, for all alike.

    Stage 0 is the stem, stages 1..S follow; the hidden layers of a large head count as
    stage S + 1.
    """

    def width(self, stage: int, plain: int, groups: int = 1) -> int:
        """Return the number of channels used where the plain backbone has ``plain``.

        ``groups`` is the plain group count of the convolution between these channels (1 but
        in ResNeXt), which must divide the answer.
        """
        return plain

    def groups(self, stage: int, inputs: int, plain: int, shortcut: bool) -> int:
        """Return the group count of a convolution with ``inputs`` channels (as restructured).

        ``plain`` is its group count in the plain backbone; ``shortcut`` tells the 1×1
        convolutions beside a residual block.
        """
        return plain

    def require_plain(self, name: str) -> None:
        """Check that nothing is changed, for architectures that have one form.

        Raises:
            InputError: a method asks for other widths or groups.
        """
        if type(self) is not Structure:
            raise InputError(
                f"architecture {name!r}: the method changes widths or groups of all layers, which "
                f"is defined for convolutions with batch norms, and this one has layer norms"
            )

    def conv(
        self,
        stage: int,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        shortcut: bool = False,
        first: bool = False,
    ) -> nn.Conv2d:
        """Return a convolution of ``stage`` without bias, padded to keep the size.

        Args:
            stage: the stage it stands in.
            inputs: input channels, as restructured.
            outputs: output channels, as restructured.
            kernel: kernel side.
            stride: stride.
            groups: group count in the plain backbone.
            shortcut: whether it stands beside a residual block.
            first: whether it is the first one within a ResNet's block.

        Raises:
            InputError: the group count does not divide the channels.
        """
        from torch import nn

        used = self.groups(stage, inputs, groups, shortcut)
        if used < 1 or inputs % used or outputs % used:
            raise InputError(
                f"groups is {used} in a convolution of stage {stage} with {inputs} input and "
                f"{outputs} output channels: allowed: a divisor of both"
            )
        padding = kernel // 2
        return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=used, bias=False)
