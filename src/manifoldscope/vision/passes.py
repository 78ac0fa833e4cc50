"""Passes of a convolutional network: forwards for every image, backwards for those that are wanted.

Autograd carries a gradient back for every image of a pass. An attack that drops images as they fall knows which are
left when their logits are there; for the others the backward pass, half of the work, is wasted. So the network is
traced into a graph of operations, what their backward passes need is kept, and these are done for some rows alone.

Convolutions, dense layers, ReLUs and sums have their backward pass here. Any other operation is done once more for the
rows that are wanted, by autograd. Networks in which that is more than a little work are left to autograd as a whole.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

_VALUES_AGAIN, _OPERATIONS_AGAIN = 0.3, 0.05
"""Largest shares of a forward pass, in numbers that it makes and in operations, that may have to be done once more."""

_SAME = 1e-4
"""Share of the largest logit or gradient by which those of autograd may differ."""

_Kind = Literal["convolution", "dense", "relu", "sum", "other"]
_RELUS = (F.relu, torch.relu, torch.relu_, "relu", "relu_")
_SUMS = (operator.add, operator.iadd, torch.add)


class _Layout(NamedTuple):
    """How values lie in memory, however many rows there are."""

    size: torch.Size
    stride: tuple[int, ...]


class _Left(NamedTuple):
    """What a pass forwards leaves for the way back.

    Attributes:
        values: of the nodes that are asked for once more.
        layouts: of all that carry a gradient.
        passed: which numbers a ReLU let through, a byte each.
    """

    values: dict[fx.Node, Any]
    layouts: dict[fx.Node, _Layout]
    passed: dict[fx.Node, Tensor]


class Passes:
    """A traced network. Made by `traced`, which says what it holds for.

    Attributes:
        operations: floating point operations of a forward pass of the inputs it was shown, without those done again.
        values_again: share of the numbers that a forward pass makes that are made once more on the way back.
    """

    def __init__(self, module: nn.Module, inputs: Tensor) -> None:
        """Trace a module that this object may keep and change; `inputs` show what its values are like."""
        self._module = fx.symbolic_trace(module)
        _leave_out_identities(self._module)
        for child in self._module.modules():
            if getattr(child, "inplace", False):
                child.inplace = False  # type: ignore[assignment]  # values are kept
        self._nodes = list(self._module.graph.nodes)
        self._input, self._output = self._nodes[0], self._nodes[-1].args[0]
        self._children = {
            node: self._module.get_submodule(str(node.target)) for node in self._nodes if node.op == "call_module"
        }
        values = self._shown(inputs)
        self._depends = self._dependents()
        self._carries = {node for node in self._depends if isinstance(values[node], Tensor)}
        self._kinds: dict[fx.Node, _Kind] = {node: self._kind(node, values) for node in self._nodes}
        self._kept = self._needed_again()
        self._last = self._last_uses()
        made = {node: values[node].numel() for node in self._carries - {self._input}}
        self.values_again = sum(n for node, n in made.items() if self._kinds[node] == "other") / sum(made.values())
        self.operations = sum(
            2 * n * self._weight(node)[0].numel()
            for node, n in made.items()
            if self._kinds[node] in ("convolution", "dense")
        )

    def forward(self, inputs: Tensor) -> tuple[Tensor, Callable[[Tensor, Tensor | None], Tensor]]:
        """The output (n, ...), and what carries a gradient back from it.

        That takes the gradient (m, ...) at the output and the m rows, or None for all, that it is of; it gives the
        gradient at these rows of the input.
        """
        left = _Left({}, {}, {})
        with torch.no_grad():
            for node in self._nodes[:-1]:
                value = left.values[node] = inputs if node is self._input else self._value(node, left.values)
                if node in self._carries:
                    left.layouts[node] = _Layout(value.shape[1:], value.stride())
                if self._kinds[node] == "relu":
                    left.passed[node] = value.bool()  # also true of NaN
                for done in self._last[node]:
                    if done not in self._kept:
                        del left.values[done]
        output: Tensor = left.values[self._output]

        def back(gradient: Tensor, rows: Tensor | None = None) -> Tensor:
            return self._backward(gradient, rows, left)

        return output, back

    def _backward(self, gradient: Tensor, rows: Tensor | None, left: _Left) -> Tensor:
        gradients = {self._output: gradient}

        def wanted(value: Tensor) -> Tensor:
            return value if rows is None else value[rows]

        def add(node: fx.Node, more: Tensor, *, ours: bool = False) -> None:
            """`ours`: nobody else holds it, so that it may be written over."""
            if node in gradients:
                more = more.add_(gradients[node]) if ours else more + gradients[node]
            gradients[node] = more

        with torch.no_grad():
            for node in reversed(self._nodes[1:-1]):
                if node in gradients:
                    here, kind = gradients.pop(node), self._kinds[node]
                    if kind == "convolution":
                        source = node.all_input_nodes[0]
                        add(source, _back_through(self._convolution(node), here, left.layouts[source]), ours=True)
                    elif kind == "dense":
                        add(node.all_input_nodes[0], here @ self._weight(node))
                    elif kind == "relu":
                        passed = wanted(left.passed.pop(node)).to(here.dtype)
                        add(node.all_input_nodes[0], torch.ops.aten.threshold_backward(here, passed, 0))
                    elif kind == "sum":
                        for source in node.all_input_nodes:
                            add(source, here)
                    else:
                        for source, found in self._by_autograd(node, here, wanted, left.values):
                            add(source, found)
                left.values.pop(node, None)  # its memory serves the gradients to come
        return gradients[self._input]

    def _by_autograd(
        self, node: fx.Node, gradient: Tensor, wanted: Callable[[Tensor], Tensor], values: dict[fx.Node, Any]
    ) -> list[tuple[fx.Node, Tensor]]:
        """The gradients at the sources of a node, whose value is found once more from theirs."""

        def again(other: fx.Node) -> Any:
            if other in leaves:
                return leaves[other]
            return self._applied(other, again) if other in self._depends else values[other]

        with torch.enable_grad():
            leaves = {source: wanted(values[source]).detach().requires_grad_(True) for source in self._sources(node)}
            made = self._applied(node, again)
            found = torch.autograd.grad(made, list(leaves.values()), gradient, allow_unused=True)
        return [(source, one) for source, one in zip(leaves, found, strict=True) if one is not None]

    def _value(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        """The value of a node. A ReLU or a sum overwrites what nothing else will ask for."""
        kind = self._kinds[node]
        if kind in ("relu", "sum"):
            first = node.all_input_nodes[0]
            free = self._kinds[first] in ("convolution", "sum") and len(first.users) == 1
            if kind == "relu":
                return values[first].relu_() if free else values[first].relu()
            second = node.args[1]
            return values[first].add_(values[second]) if free else values[first] + values[second]  # type: ignore[index]
        return self._applied(node, values.__getitem__)

    def _applied(self, node: fx.Node, value: Callable[[fx.Node], Any]) -> Any:
        """What a node makes of the values of others."""
        args: Any = fx.node.map_arg(node.args, value)
        kwargs: Any = fx.node.map_arg(node.kwargs, value)
        if node.op == "call_module":
            return self._children[node](*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self._module)
        return node.target(*args, **kwargs)  # type: ignore[operator]  # of the other kinds of node only call_function

    def _convolution(self, node: fx.Node) -> nn.Conv2d:
        found = self._children[node]
        assert isinstance(found, nn.Conv2d)
        return found

    def _weight(self, node: fx.Node) -> Tensor:
        found = self._children[node].weight
        assert isinstance(found, Tensor)
        return found

    def _shown(self, inputs: Tensor) -> dict[fx.Node, Any]:
        """The value of every node."""
        values: dict[fx.Node, Any] = {self._input: inputs}
        with torch.no_grad():
            for node in self._nodes[1:-1]:
                values[node] = self._applied(node, values.__getitem__)
        return values

    def _dependents(self) -> set[fx.Node]:
        """The nodes whose value depends on the input."""
        found = {self._input}
        for node in self._nodes[1:-1]:
            if found & set(node.all_input_nodes):
                found.add(node)
        return found

    def _kind(self, node: fx.Node, values: dict[fx.Node, Any]) -> _Kind:
        if node not in self._carries or node is self._input:
            return "other"
        module = self._children.get(node)
        inputs = node.all_input_nodes
        if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            return "convolution"
        if type(module) is nn.Linear:
            return "dense"
        if type(module) is nn.ReLU or (node.op != "call_module" and node.target in _RELUS):
            return "relu"
        alike = len(inputs) == len(node.args) == 2 and not node.kwargs and self._carries.issuperset(inputs)
        if node.target in _SUMS and alike and values[inputs[0]].shape == values[inputs[1]].shape:
            return "sum"
        return "other"

    def _sources(self, node: fx.Node) -> list[fx.Node]:
        """The nodes that carry a gradient and that the value of this one is found from; sizes and the like between."""
        found: dict[fx.Node, None] = {}
        for source in node.all_input_nodes:
            if source in self._carries:
                found[source] = None
            elif source in self._depends:
                found.update(dict.fromkeys(self._sources(source)))
        return list(found)

    def _needed_again(self) -> set[fx.Node]:
        """The nodes whose values the way back asks for."""
        needed = {node for node in self._nodes[:-1] if node not in self._depends}
        for node in self._carries - {self._input}:
            if self._kinds[node] == "other":
                needed.update(self._sources(node))
        return needed | {self._output}

    def _last_uses(self) -> dict[fx.Node, list[fx.Node]]:
        """For each node those that no later one uses."""
        last: dict[fx.Node, list[fx.Node]] = defaultdict(list)
        seen = set()
        for node in reversed(self._nodes[:-1]):
            for used in [node, *node.all_input_nodes]:
                if used not in seen:
                    seen.add(used)
                    last[node].append(used)
        return last


def traced(module: nn.Module, inputs: Tensor) -> Passes | None:
    """The passes of a module in evaluation mode; None where it cannot be traced, or where they would not pay or differ.

    Args:
        module: belongs to what is made of it: its activations no longer overwrite their inputs.
        inputs: (n, channels, height, width), a few; logits and gradients for these must be those of autograd.
    """
    try:
        passes = Passes(module, inputs)
        with torch.enable_grad(), FlopCounterMode(display=False) as counter:
            leaf = inputs.detach().requires_grad_(True)
            output = module(leaf)
        total = counter.get_total_flops()
        dear = passes.values_again > _VALUES_AGAIN or total - passes.operations > _OPERATIONS_AGAIN * total
        return passes if not dear and _agrees(passes, leaf, output) else None
    except Exception:  # whatever a stranger's module does when it is traced: it then goes by autograd
        return None


def _agrees(passes: Passes, leaf: Tensor, output: Tensor) -> bool:
    """Whether the output, and the gradients of every other row, are those of autograd up to rounding."""
    rows = torch.arange(0, len(leaf), 2, device=leaf.device)
    towards = torch.cos(torch.arange(output.numel(), device=leaf.device)).view_as(output).to(output)
    (expected,) = torch.autograd.grad(output, leaf, towards)
    found, back = passes.forward(leaf.detach())
    pairs = ((found, output.detach()), (back(towards[rows], rows), expected[rows]))
    return all(torch.allclose(one, other, rtol=0, atol=_SAME * float(other.abs().max())) for one, other in pairs)


def _leave_out_identities(module: fx.GraphModule) -> None:
    """Drop the nodes that hand on what they are given: what a folded batch norm leaves, and dropout."""
    for node in module.graph.nodes:
        if node.op == "call_module":
            child = module.get_submodule(str(node.target))
            if isinstance(child, nn.Identity) or (type(child) in (nn.Dropout, nn.Dropout2d) and not child.training):
                node.replace_all_uses_with(node.args[0])
                module.graph.erase_node(node)


def _back_through(convolution: nn.Conv2d, gradient: Tensor, layout: _Layout) -> Tensor:
    """The gradient at the input of a convolution."""
    # of the input only its shape and layout count
    like = torch.empty_strided(
        (len(gradient), *layout.size), layout.stride, dtype=gradient.dtype, device=gradient.device
    )
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient,
        like,
        convolution.weight,
        None,
        convolution.stride,
        convolution.padding,
        convolution.dilation,
        False,
        (0, 0),
        convolution.groups,
        (True, False, False),
    )[0]
    return found
