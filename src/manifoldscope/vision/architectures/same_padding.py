"""A 3 x 3 convolution with the padding that TensorFlow calls "SAME"."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class SameConv2d(nn.Conv2d):
    """A 3 x 3 convolution without bias, of maps of even sides: padded all around, or right and below if it halves them.

    Args:
        n_in, n_out: channels.
        stride: 1 or 2.
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__(n_in, n_out, 3, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        before = 1 if self.stride == (1, 1) else 0
        return super().forward(F.pad(x, (before, 1, before, 1)))
