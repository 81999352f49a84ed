"""The metrics of all kinds of tasks: unit, meaning and source. Does not import torch.

A score also has a standard error, the number of items, and the chance level if it is known (`scores.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from bessemer.artifacts.descriptions import Metric

METRICS: Mapping[str, Metric] = {
    "bits_per_byte": Metric("bits/byte", "Bits to predict a byte of text. Does not depend on the tokenizer."),
    "perplexity": Metric("1", "Exponential of the mean loss: per token of text, or per item of `language_modelling`."),
    "acc": Metric("1", "Share of items whose likeliest choice is right; of `language_modelling`, share of items whose "
                  "every token is the likeliest; of `minimal_pairs`, share whose `sentence` is likelier."),
    "acc_norm": Metric("1", "Like `acc`, with log-likelihoods divided by the characters of the choice."),
    "acc_mutual_info": Metric("1", "Like `acc`, with log-likelihoods minus those of the choice without the query "
                              "(Holtzman et al., 2021)."),
    "mc2": Metric("1", "Probability of all right choices together (TruthfulQA; Lin et al., 2022)."),
    "acc_without_passage": Metric("1", "`acc` of the query without its passage."),
    "acc_gain": Metric("1", "`acc` minus `acc_without_passage`."),
    "brier_score": Metric("1", "Sum over choices of (probability - [is right])^2, from 0 to 2 (Brier, 1950)."),
    "calibration_error": Metric("1", "Mean distance of confidence and accuracy, in 15 bins (Guo et al., 2017)."),
    "coverage": Metric("1", "Share of items on which the model is at least as confident as the group's threshold."),
    "acc_answered": Metric("1", "`acc` on these items (selective prediction; El-Yaniv and Wiener, 2010)."),
    "pct_stereotype": Metric("1", "Share of pairs whose stereotypical sentence is likelier. Best: 0.5 (CrowS-Pairs)."),
    "likelihood_diff": Metric("nats", "Mean difference of the log-likelihoods of the two sentences."),
    "lms": Metric("%", "StereoSet: how often a meaningful sentence is likelier than a meaningless one. Best: 100."),
    "ss": Metric("%", "StereoSet: how often the stereotype is likelier than its opposite. Best: 50."),
    "icat": Metric("%", "StereoSet: lms x min(ss, 100 - ss) / 50. Best: 100 (Nadeem et al., 2021)."),
    "acc_ambiguous": Metric("1", "BBQ: accuracy if the passage does not contain the answer."),
    "acc_disambiguated": Metric("1", "BBQ: accuracy if the passage contains the answer."),
    "bias_ambiguous": Metric("1", "BBQ: bias of the errors if the passage does not contain the answer, from -1 to 1."),
    "bias_disambiguated": Metric("1", "BBQ: bias if the passage contains the answer (Parrish et al., 2022)."),
    "exact_match": Metric("1", "Share of answers that equal a reference."),
    "f1": Metric("1", "F1 of the words shared with the best reference (SQuAD)."),
    "bleu": Metric("%", "BLEU of all answers together (sacrebleu)."),
    "chrf": Metric("%", "Character n-gram F-score (chrF) of all answers together (sacrebleu)."),
    "rouge1": Metric("1", "F1 of shared words (ROUGE-1; Lin, 2004)."),
    "rouge2": Metric("1", "F1 of shared pairs of words (ROUGE-2)."),
    "rougeL": Metric("1", "F1 of the longest common subsequence of words (ROUGE-L)."),
    "<metric>_max": Metric("1", "Best value of a generation metric over the right references."),
    "<metric>_diff": Metric("1", "`<metric>_max` minus the best value over the incorrect references."),
    "<metric>_acc": Metric("1", "Share of answers with a positive `<metric>_diff`."),
    "reward": Metric("1", "Sum of the rewards of an answer."),
    "reward_<label>": Metric("1", "One of several rewards."),
    "pass_at_<k>": Metric("1", "Probability that one of k programs passes the tests (Chen et al., 2021, eq. 1)."),
    "extraction_rate": Metric("1", "Share of training texts whose continuation the model repeats verbatim (Carlini et "
                              "al., 2022)."),
    "held_out_extraction_rate": Metric("1", "The same for held-out texts, as a control."),
    "tokens_given_back": Metric("tokens", "Mean number of tokens repeated before the first wrong one."),
    "held_out_tokens_given_back": Metric("tokens", "The same for held-out texts, as a control."),
    "exposure": Metric("bits", "log2 of the number of possible secrets minus log2 of the rank of the planted one "
                       "(Carlini et al., 2019)."),
    "control_exposure": Metric("bits", "The same for secrets that were not planted. Expected: 1.44."),
    "personal_data_rate": Metric("1", "Share of continuations with personal data."),
    "leak_rate": Metric("1", "Share of continuations with personal data of the training documents."),
    "expected_maximum_toxicity": Metric("1", "Mean over prompts of the highest toxicity of a continuation (Gehman et "
                                        "al., 2020)."),
    "toxicity_probability": Metric("1", "Share of prompts with a toxic continuation (Gehman et al., 2020)."),
    "contaminated": Metric("1", "Share of items that were found in the training text."),
}  # fmt: skip
"""By name. `<metric>`, `<label>` and `<k>` are values of the task's settings."""
