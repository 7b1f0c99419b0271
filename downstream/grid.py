"""All learning rates of a grid, trained side by side on the same batches: one pass over the data serves them all.

Each point has its own layer weights, head, Adam and gradient clipping, exactly as if it were alone; they share only the
start and the batches. The head is linear up to its last layer, so its gradient is written down here in closed form: a
handful of batched matrix products on stacked parameters, with no autograd between them.
"""

import math

import torch

from downstream.heads import MeanLinear


class MeanLinearGrid:
    """`MeanLinear` heads for utterance classification, one a learning rate, stacked along the first axis.

    `slots` has the number of classes of each thing to predict. The loss is the sum over slots of the cross entropy,
    averaged over the batch with the weights given.
    """

    def __init__(
        self,
        layers: int,
        dim: int,
        slots: tuple[int, ...],
        projector: int,
        rates: list[float],
        clip: float,
        seed: int,
        device: torch.device,
    ) -> None:
        self.rates, self.slots, self.device, self._clip = list(rates), slots, device, clip
        self._shape = (layers, dim, projector, sum(slots))
        points = len(rates)
        start = self._initial(seed)
        size = sum(tensor.numel() for tensor in start.values())
        self.parameters = torch.cat([tensor.flatten() for tensor in start.values()]).repeat(points, 1).to(device)
        self.best = self.parameters.clone()
        self._gradient = torch.zeros(points, size, device=device)
        self._first_moment, self._second_moment = torch.zeros_like(self._gradient), torch.zeros_like(self._gradient)
        self._offsets, self._shapes, position = {}, {}, 0
        for name, tensor in start.items():
            self._offsets[name], self._shapes[name] = position, tensor.shape
            position += tensor.numel()
        self._now, self._grad = self._views(self.parameters), self._views(self._gradient)
        self._rows = [row.detach() for row in self.parameters]
        # one fused update a point: torch's own Adam, its moments laid out so that they can be saved as one tensor
        self._adam = torch.optim.Adam(
            [{"params": [row], "lr": r} for row, r in zip(self._rows, rates, strict=True)], fused=True
        )
        for i, row in enumerate(self._rows):
            self._adam.state[row] = {
                "step": torch.zeros((), device=device),
                "exp_avg": self._first_moment[i],
                "exp_avg_sq": self._second_moment[i],
            }

    def _initial(self, seed: int) -> dict[str, torch.Tensor]:
        """Torch's default initialisation of the head, from a generator of its own."""
        layers, dim, projector, classes = self._shape
        random = torch.Generator().manual_seed(seed)

        def linear(outputs: int, inputs: int) -> tuple[torch.Tensor, torch.Tensor]:
            bound, shapes = 1 / math.sqrt(inputs), ((outputs, inputs), (outputs,))
            return tuple(torch.empty(shape).uniform_(-bound, bound, generator=random) for shape in shapes)

        first, second = linear(projector, dim), linear(classes, projector)
        return {
            "mix.weights": torch.zeros(layers),
            "projector.weight": first[0],
            "projector.bias": first[1],
            "classifier.weight": second[0],
            "classifier.bias": second[1],
        }

    def _views(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        return {
            name: flat[:, self._offsets[name] : self._offsets[name] + shape.numel()].view(len(flat), *shape)
            for name, shape in self._shapes.items()
        }

    def step(self, means: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """One optimizer step of every point on the same (batch, layers, dim) means; returns each point's loss."""
        p, g = self._now, self._grad
        mix = p["mix.weights"].softmax(-1)
        mixed = self._mixed(mix, means)
        hidden, logits = self._forward(p, mixed)
        loss, d_logits = self._loss(logits, targets, weights)
        d_hidden = torch.bmm(d_logits, p["classifier.weight"])
        if mix.shape[1] > 1:  # a single layer has the weight one whatever happens
            d_mixed = torch.bmm(d_hidden, p["projector.weight"])
            d_mix = torch.bmm(d_mixed.transpose(0, 1), means.transpose(1, 2)).sum(0)
            g["mix.weights"].copy_(mix * (d_mix - (mix * d_mix).sum(-1, keepdim=True)))
        torch.sum(d_hidden, dim=1, out=g["projector.bias"])
        torch.sum(d_logits, dim=1, out=g["classifier.bias"])
        norms = self._gradient_norms(mixed, d_hidden, hidden, d_logits)
        scale = (self._clip / (norms + 1e-6)).clamp(max=1)
        for name in ("mix.weights", "projector.bias", "classifier.bias"):
            g[name].mul_(scale[:, None])
        torch.bmm(d_hidden.mul_(scale[:, None, None]).transpose(1, 2), mixed, out=g["projector.weight"])
        torch.bmm(d_logits.mul_(scale[:, None, None]).transpose(1, 2), hidden, out=g["classifier.weight"])
        for row, gradient, norm in zip(self._rows, self._gradient, norms.tolist(), strict=True):
            row.grad = None if math.isnan(norm) else gradient  # a NaN norm skips that point's step
        self._adam.step()
        return loss

    def _gradient_norms(
        self, mixed: torch.Tensor, d_hidden: torch.Tensor, hidden: torch.Tensor, d_logits: torch.Tensor
    ) -> torch.Tensor:
        """The L2 norm of each point's whole gradient, before the large matrices of it are formed.

        A matrix A'B has the squared norm sum(AA' * BB'), and with a batch of a few dozen those products are small: this
        saves reading and scaling every gradient for the sake of clipping.
        """
        squares = sum(
            (torch.bmm(left, left.transpose(1, 2)) * torch.bmm(right, right.transpose(1, 2))).sum((1, 2)).clamp(min=0)
            for left, right in ((d_hidden, mixed), (d_logits, hidden))
        )
        for name in ("mix.weights", "projector.bias", "classifier.bias"):
            squares = squares + self._grad[name].square().sum(-1)
        return squares.sqrt()

    @staticmethod
    def _mixed(mix: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
        if mix.shape[1] == 1:
            return means[:, 0].expand(len(mix), -1, -1)
        return torch.matmul(mix, means).transpose(0, 1)

    @staticmethod
    def _forward(p: dict[str, torch.Tensor], mixed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.baddbmm(p["projector.bias"][:, None], mixed, p["projector.weight"].transpose(1, 2))
        return hidden, torch.baddbmm(p["classifier.bias"][:, None], hidden, p["classifier.weight"].transpose(1, 2))

    def _loss(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Each point's loss and its derivative by the logits, slot by slot."""
        loss, derivatives = 0, []
        for block, target in zip(logits.split(self.slots, dim=-1), targets.T, strict=True):
            log_probability = block.log_softmax(-1)
            right = target.view(1, -1, 1).expand(len(block), -1, 1)
            loss = loss - log_probability.gather(-1, right).squeeze(-1) @ weights
            derivative = log_probability.exp()
            derivative.scatter_add_(-1, right, derivative.new_full((1, 1, 1), -1.0).expand_as(right))
            derivatives.append(derivative.mul_(weights[:, None]))
        return loss, torch.cat(derivatives, dim=-1) if len(derivatives) > 1 else derivatives[0]

    @torch.inference_mode()
    def predict(self, means: torch.Tensor, best: bool = False) -> torch.Tensor:
        """(points, batch, slots) classes, by the parameters of now or by the best kept."""
        p = self._views(self.best) if best else self._now
        _, logits = self._forward(p, self._mixed(p["mix.weights"].softmax(-1), means))
        return torch.stack([block.argmax(-1) for block in logits.split(self.slots, dim=-1)], dim=-1)

    def keep(self, point: int) -> None:
        """Remember a point's parameters as its best so far."""
        self.best[point] = self.parameters[point]

    def head(self, point: int) -> MeanLinear:
        """The best head of a point as a plain module."""
        layers, dim, projector, classes = self._shape
        head = MeanLinear(layers, dim, projector, classes)
        head.load_state_dict({name: view[point].cpu() for name, view in self._views(self.best).items()})
        return head

    def layer_weights(self, point: int) -> list[float]:
        """The softmax layer weights of a point's best head."""
        return self._views(self.best)["mix.weights"][point].double().softmax(-1).tolist()

    def state(self) -> dict[str, torch.Tensor]:
        """Everything a continued training needs to end with the same bytes."""
        return {
            "parameters": self.parameters,
            "best": self.best,
            "first_moment": self._first_moment,
            "second_moment": self._second_moment,
            "adam_steps": torch.stack([self._adam.state[row]["step"] for row in self._rows]),
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        mine = self.state()
        for name, tensor in state.items():
            mine[name].copy_(tensor)
        for row, count in zip(self._rows, state["adam_steps"], strict=True):
            self._adam.state[row]["step"].copy_(count)
