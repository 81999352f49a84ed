"""How well a model knows secrets that were planted in its training text: exposure.

Rank all possible secrets by their likelihood in a canary's sentence. The canary's exposure is log2 of the number of
secrets minus log2 of the rank of its secret (Carlini et al., The Secret Sharer, 2019, section 4). It is 0 for the least
likely secret, 1.44 on average for a secret that was never planted, and all bits of the secret for the likeliest one.

The rank is estimated from random secrets. If at least `MINIMUM_RANKED` of them are likelier than the canary's secret,
the estimate is their share. Otherwise it is the tail of a skew-normal distribution with the mean, the standard
deviation and the skewness of the sample, as in the paper (section 4.3). Canaries that were not planted are the control.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, NonNegativeInt, PositiveInt

from bessemer.artifacts.descriptions import Metric
from bessemer.evaluate.canaries import Canary, draw_secret, invent, read_canaries
from bessemer.evaluate.scores import Numbers, Result, mean_score
from bessemer.evaluate.task import TRAINING_DOCUMENTS, Task, TaskInput

if TYPE_CHECKING:
    from bessemer.evaluate.evaluated_model import EvaluatedModel
    from bessemer.evaluate.materials import Materials

MINIMUM_RANKED = 10
SECRETS_AT_ONCE = 64

ITEMS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("sentence", pa.string(), nullable=False),
        pa.field("secret", pa.string(), nullable=False),
        pa.field("num_copies", pa.int64(), nullable=False),
        pa.field("nats", pa.float64(), nullable=False),
        pa.field("num_likelier", pa.int64(), nullable=False),
        pa.field("exposure", pa.float64()),
        pa.field("control_exposure", pa.float64()),
        pa.field("extrapolated", pa.bool_(), nullable=False),
    ]
)
METRICS = {
    "exposure": Metric("bits", "log2 of the number of possible secrets minus log2 of the rank of the planted one "
                       "(Carlini et al., 2019)."),
    "control_exposure": Metric("bits", "The same for secrets that were not planted. Expected: 1.44."),
}  # fmt: skip


class Exposure(Task):
    """How well the model knows the secrets that a stage `canaries` planted in its training text."""

    lower_is_better: ClassVar = frozenset({"exposure"})
    descriptions: ClassVar = METRICS

    kind: Literal["exposure"]
    """The kind of task."""
    num_candidates: int = Field(1000, ge=100)
    """Number of random secrets among which each canary's secret is ranked. The rank is extrapolated if too few of them
    are likelier."""
    num_controls: PositiveInt = 16
    """Number of control canaries, which are not in the training text."""
    seed: NonNegativeInt = 0
    """Seed of the draw of secrets and controls."""
    metrics: tuple[Literal["exposure", "control_exposure"], ...] = ("exposure", "control_exposure")
    """The headline metrics, in bits."""

    @property
    def inputs(self) -> tuple[TaskInput, ...]:
        return (TRAINING_DOCUMENTS,)

    def score(self, materials: Materials) -> Result:
        assert materials.training_text is not None, "checked before the model is loaded"
        return score_canaries(self, materials.subject, read_canaries(materials.training_text.documents))


def score_canaries(task: Exposure, subject: EvaluatedModel, planted: Sequence[Canary]) -> Result:
    """Returns the exposure of planted and control canaries, also by number of copies, and one row per canary."""
    generator = np.random.default_rng(task.seed)
    control = [
        invent(generator, 0, template=planted[0].template, num_digits=len(planted[0].secret))
        for _ in range(task.num_controls)
    ]
    rows = [_measure(task, subject, canary, generator) for canary in [*control, *planted]]
    items = pa.Table.from_pylist(rows, schema=ITEMS_SCHEMA)
    bits = {metric: items[metric].drop_null().to_numpy() for metric in ("exposure", "control_exposure")}
    scores = [mean_score(metric, values) for metric, values in bits.items()]
    copies = np.array([canary.num_copies for canary in planted])
    by_copies = [(f"copies {n}", copies == n) for n in np.unique(copies).tolist()]
    return Result(scores + [mean_score("exposure", bits["exposure"][of], group=name) for name, of in by_copies], items)


def _measure(
    task: Exposure, subject: EvaluatedModel, canary: Canary, generator: np.random.Generator
) -> dict[str, object]:
    others = [draw_secret(generator, len(canary.secret)) for _ in range(task.num_candidates)]
    nats = -_log_likelihoods(subject, canary.sentence, [canary.secret, *others])
    likelier = int((nats[1:] < nats[0]).sum())
    extrapolated = likelier < MINIMUM_RANKED
    share = log2_below(nats[0], nats[1:]) if extrapolated else math.log2((1 + likelier) / (1 + len(others)))
    bits = len(canary.secret) * math.log2(10)
    return {
        "id": canary.name,
        "sentence": canary.sentence,
        "secret": canary.secret,
        "num_copies": canary.num_copies,
        "nats": float(nats[0]),
        "num_likelier": likelier,
        "exposure" if canary.num_copies else "control_exposure": min(bits, -share),
        "extrapolated": extrapolated,
    }


def _log_likelihoods(subject: EvaluatedModel, sentence: str, secrets: Sequence[str]) -> Numbers:
    """log P(secret | sentence) in nats. The sentence begins a document. Tokens in which the end of
    the sentence merges with a secret are predicted with the secret."""
    from bessemer.evaluate.likelihood import ContinuationTree, log_likelihoods

    tokenizer = subject.tokenizer
    begin = [tokenizer.end_of_text_id, *tokenizer.document_begin_ids]
    context = [*begin, *tokenizer.encode(sentence)]
    whole = [[*begin, *tokenizer.encode(sentence + secret)] for secret in secrets]
    known = len(context)
    while any(tokens[:known] != context[:known] for tokens in whole):
        known -= 1
    trees = [
        ContinuationTree(context[:known], [tokens[known:] for tokens in whole[first : first + SECRETS_AT_ONCE]])
        for first in range(0, len(whole), SECRETS_AT_ONCE)
    ]
    return np.concatenate([found.nats for found in log_likelihoods(subject, trees)])


def log2_below(value: float, sample: Numbers) -> float:
    """log2 P(X <= value) for a skew-normal X with the mean, standard deviation and skewness of the sample (Azzalini,
    1985)."""
    import torch

    mean, deviation = float(sample.mean()), float(sample.std(ddof=1))
    if deviation == 0:
        return 0.0 if value >= mean else -math.inf
    skewness = float((((sample - mean) / sample.std()) ** 3).mean())
    ratio = min(abs(skewness), 0.99) ** (2 / 3)
    delta = math.copysign(math.sqrt(math.pi / 2 * ratio / (ratio + ((4 - math.pi) / 2) ** (2 / 3))), skewness)
    scale = deviation / math.sqrt(1 - 2 * delta**2 / math.pi)
    place = mean - scale * delta * math.sqrt(2 / math.pi)
    shape = delta / math.sqrt(1 - delta**2)
    z = (value - place) / scale
    steps = torch.linspace(z - 12, z, 20_001, dtype=torch.float64)
    density = math.log(2) - 0.5 * steps**2 - 0.5 * math.log(2 * math.pi) + torch.special.log_ndtr(shape * steps)
    logarithm = torch.logsumexp(density, 0) + math.log(12 / 20_000)
    return min(0.0, float(logarithm) / math.log(2))
