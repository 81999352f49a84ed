"""The text classifier has the defined features, finds the optimum, and gives equal bytes for equal texts."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from bessemer.errors import ArtifactDamaged, InputError
from bessemer.evaluate.classifier import BITS, LONGEST_NGRAM, Classifier, features_of, plain, train
from bessemer.evaluate.labelled import LabelledTexts, errors, read_texts, roc_auc

KIND = ["what a lovely day", "thank you very much", "have a good evening", "it is nice of you"] * 5
RUDE = ["you are a complete fool", "shut up you fool", "what a foolish clown", "clowns and fools"] * 5
LABELS = np.array([False] * len(KIND) + [True] * len(RUDE))


def test_it_learns_and_is_sure_of_neither_class_for_nothing() -> None:
    classifier = train([(KIND + RUDE, LABELS)])
    found = classifier.probabilities(["a lovely evening to you", "that fool is a clown", "zzz"])
    assert found[0] < 0.3
    assert found[1] > 0.7
    assert classifier.probabilities([]).shape == (0,)


def test_the_gradient_is_zero_at_what_is_found() -> None:
    """Compared with finite differences of the loss: changing any weight, or the bias, does not reduce the loss."""
    classifier = train([(KIND + RUDE, LABELS)], penalty=1e-2)
    features = features_of([plain(text) for text in KIND + RUDE])

    def loss(weights: np.ndarray) -> float:
        logits = features.times(weights[:-1]) + weights[-1]
        surprise = np.where(LABELS, np.log1p(np.exp(-logits)), np.log1p(np.exp(logits)))
        return float(surprise.mean() + 1e-2 / 2 * (weights[:-1] ** 2).sum())

    least = loss(classifier.weights)
    for place in [*np.unique(features.places)[::40].tolist(), 1 << BITS]:
        for step in (-0.05, 0.05):
            moved = classifier.weights.copy()
            moved[place] += step
            assert loss(moved) > least


def test_the_number_of_threads_does_not_change_the_weights() -> None:
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(list("abcdefghijklmnop "), 60)) for _ in range(200)]
    labels = random.random(200) < 0.5
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(train([(texts, labels)]).weights.tobytes())
    assert found[0] == found[1]


def test_equal_texts_give_equal_bytes_and_come_back(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        train([(KIND + RUDE, LABELS)]).save(tmp_path / name)
    assert (tmp_path / "first/weights.npy").read_bytes() == (tmp_path / "second/weights.npy").read_bytes()
    loaded = Classifier.load(tmp_path / "first")
    texts = ["a foolish day"]
    assert loaded.probabilities(texts) == pytest.approx(train([(KIND + RUDE, LABELS)]).probabilities(texts), abs=1e-6)
    np.save(tmp_path / "first/weights.npy", np.zeros(3))
    with pytest.raises(ArtifactDamaged):
        Classifier.load(tmp_path / "first")


@given(st.lists(st.text("ab é", max_size=8), min_size=1, max_size=4))
def test_features_are_the_ngrams_of_each_text(texts: list[str]) -> None:
    features = features_of(texts)
    for number, text in enumerate(texts):
        grams = Counter(
            text[start : start + length]
            for length in range(1, LONGEST_NGRAM + 1)
            for start in range(len(text) - length + 1)
        )
        sizes = np.array(sorted(1 + math.log(count) for count in grams.values()))
        own = slice(features.offsets[number], features.offsets[number + 1])
        assert np.sort(features.sizes[own]) == pytest.approx(sizes / math.sqrt((sizes**2).sum() or 1))


def test_noise_of_the_web_is_taken_out() -> None:
    assert (
        plain("RT @Some_One: LOOK\n https://t.co/x &amp; this, mail a@b.example") == " look & this, mail a@b.example "
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=12))
def test_the_area_under_the_curve_is_the_chance_to_rank_right(pairs: list[tuple[bool, int]]) -> None:
    labels, scores = np.array([a for a, _ in pairs]), np.array([float(b) for _, b in pairs])
    wins = [(p > n) + (p == n) / 2 for p in scores[labels] for n in scores[~labels]]
    assert roc_auc(labels, scores) == (pytest.approx(sum(wins) / len(wins)) if wins else None)


def test_errors_are_counted_in_all_and_by_category(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("words,kind,part\na,bad,x\nb,good,x\nc,bad,y\nd,bad,y\n")
    settings = LabelledTexts(dataset=str(path), text="{{words}}", label="kind == 'bad'", group="{{part}}")
    whole, x, y = errors("set", read_texts(settings), np.array([0.9, 0.6, 0.1, 0.5]), 0.5)
    assert (whole.n, whole.num_positive, whole.precision, whole.recall) == (4, 3, 2 / 3, 2 / 3)
    assert (whole.false_positive_rate, whole.roc_auc) == (1.0, 1 / 3)
    assert (x.group, x.recall, x.false_positive_rate) == ("x", 1.0, 1.0)
    assert (y.group, y.recall, y.false_positive_rate, y.roc_auc) == ("y", 0.5, None, None)


def test_what_belongs_together_stands_on_one_side(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("\n".join(["text,prompt,label", *(f"t{n},p{n % 40},{'x' * (n % 2)}" for n in range(400))]))
    learnt, held_out = read_texts(LabelledTexts(dataset=str(path), split_by="{{prompt}}")).split(0.25)
    assert not set(learnt.keys) & set(held_out.keys)
    assert len(learnt.texts) + len(held_out.texts) == 400
    assert 2 < len(set(held_out.keys)) < 20


@pytest.mark.parametrize(
    ("label", "complaint"), [("kind == 'ugly'", "have the same label"), ("colour", "line 2 is not a labelled text")]
)
def test_texts_that_teach_nothing_are_refused(tmp_path: Path, label: str, complaint: str) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("text,kind\na,bad\nb,good\n")
    with pytest.raises(InputError, match=complaint):
        read_texts(LabelledTexts(dataset=str(path), label=label))
