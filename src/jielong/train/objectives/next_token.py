"""Next-token cross-entropy: pretraining, and instruction tuning where only answers have weight."""
# B rows, T columns, N trained positions of a micro-batch, C hidden width, E experts.

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, cast

import torch

from jielong.config import at_least
from jielong.data.batches import Batch
from jielong.losses import Loss
from jielong.model.config import ModelConfig
from jielong.model.transformer import LanguageModel
from jielong.train.balance import imbalance, router_scores
from jielong.train.objectives.logprobs import NegativeLogLikelihood, trained_positions
from jielong.train.objectives.objective import ObjectiveConfig
from jielong.train.roles import Modules


@dataclass(frozen=True)
class NextTokenConfig(ObjectiveConfig):
    """Cross-entropy of the next token, over the whole text or over the assistant's turns, whichever the data marks.

    `router_aux_loss_coef` is the weight of the loss that evens out the use of experts; null is what the model's own says.
    """

    router_aux_loss_coef: float | None = None
    takes_adapter: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.router_aux_loss_coef is not None:
            at_least(self, 0, "router_aux_loss_coef")

    def build(
        self, config: ModelConfig, roles: Collection[str], *, has_adapter: bool = False, is_compiled: bool = False
    ) -> NextToken:
        """Build the objective, with load balancing for a model with experts whose routers are trained."""
        own = self.router_aux_loss_coef
        coefficient = config.router_aux_loss_coef if own is None else own
        # beside an adapter the routers are frozen
        balance = coefficient if config.num_experts and not has_adapter else 0.0
        return NextToken(self.main, balance, is_compiled)


class NextToken:
    """Cross-entropy of the next token: pretraining, and instruction tuning where only answers have weight.

    Term "loss": nats per trained token. Metric "accuracy": how often the target is the most likely token. With
    `balance` above 0, for a model with experts, also the term "balance": that times the mean over layers of
    `balance.imbalance`, which is also a metric. It is that of each micro-batch, over all tokens that are no padding: a
    product of means is no sum, so here the size of a micro-batch shows. `is_compiled` matters on GPUs alone.
    """

    def __init__(self, module: str = "policy", balance: float = 0.0, is_compiled: bool = False) -> None:
        self.module, self.balance, self.is_compiled = module, balance, is_compiled

    def weights(self, batch: Batch) -> dict[str, float]:
        weights = {"loss": float(batch.weights.sum())}
        return weights | {"balance": float((batch.segments > 0).sum())} if self.balance else weights

    def __call__(self, modules: Modules, batch: Batch) -> Loss:
        model = cast(LanguageModel, modules[self.module])
        trained = trained_positions(batch)
        if self.balance:
            with router_scores(model) as scores:
                hidden_BTC = model(batch.inputs, batch.positions, batch.segments)
        else:
            hidden_BTC = model(batch.inputs, batch.positions, batch.segments)
        hidden_NC = hidden_BTC.to(model.model.compute_dtype)[trained]
        total, num_right = NegativeLogLikelihood.apply(
            hidden_NC, model.head, batch.targets[trained], batch.weights[trained], self.is_compiled
        )
        weight = batch.weights.sum()
        terms, metrics = {"loss": (total, weight)}, {"accuracy": (num_right, weight)}
        if self.balance:
            is_real = (batch.segments > 0).float().flatten()
            layers = [imbalance(scores_NE, model.config.num_experts_per_tok, is_real) for scores_NE in scores]
            uneven = torch.stack(layers).mean() * is_real.sum()
            terms["balance"] = (self.balance * uneven, is_real.sum())
            metrics["imbalance"] = (uneven.detach(), is_real.sum())
        return Loss(terms, metrics)
