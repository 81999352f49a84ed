"""Precision and recall of the rule `pii`, per kind, on the labelled texts of `tests/clean/personal_data.txt`.

    python -m tests.benchmarks.bench_pii [--mistakes] [--json]

The texts and labels were written by hand for this project, in about 30 languages; they are not a sample of the
web, so the figures compare versions of the rule and say little about a corpus. The last figure is the share of
libphonenumber's example numbers that are found in international form without a label: a fixed line and a mobile number
per country.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

import phonenumbers
from tests.clean.labelled_personal_data import read_labelled, score

from bessemer.clean.pii import find_personal_data
from bessemer.clean.texts import Texts

_TYPES = (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mistakes", action="store_true", help="print each false and each missed finding")
    parser.add_argument("--json", action="store_true", help="print figures for machines")
    options = parser.parse_args()
    items = read_labelled()
    scores, mistakes = score(items)
    found, asked = example_numbers()
    if options.json:
        print(json.dumps({"kinds": {kind: asdict(one) for kind, one in scores.items()}, "examples": [found, asked]}))
        return
    print(f"{len(items)} texts, {sum(not item.spans for item in items)} of them without personal data")
    print(f"{'kind':12} {'labelled':>8} {'precision':>10} {'recall':>8}")
    for kind, one in scores.items():
        print(f"{kind:12} {one.right + one.missed:8} {one.precision:10.3f} {one.recall:8.3f}")
    print(f"example numbers in international form: {found} of {asked}")
    if options.mistakes:
        print(*mistakes, sep="\n")


def example_numbers() -> tuple[int, int]:
    """(number found completely, number tested) of libphonenumber's examples."""
    found = asked = 0
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in _TYPES:
            number = phonenumbers.example_number_for_type(region, kind)
            if number is None:
                continue
            text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
            asked += 1
            found += [(item.start, item.end) for item in find_personal_data(Texts([text]))] == [(0, len(text))]
    return found, asked


if __name__ == "__main__":
    main()
