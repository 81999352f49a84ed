"""Personal data is masked; numbers and names that only look like it stay."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clean.labelled_personal_data import read_labelled, score

from bessemer.clean.pii import Pii, comparable, find_personal_data
from bessemer.clean.texts import Texts


def masked(text: str, **settings: str | None) -> str:
    found = Pii(**settings).apply(Texts([text]))
    return found.texts.strings[0] if found.texts else text


@pytest.mark.parametrize(
    "text",
    [
        "write to «jane.doe+news@mail.example.co.uk»EMAIL.",
        "<«josé.müller@exämple.de»EMAIL>",
        "mailto:«o'neill@example.org»EMAIL?subject=hi",
        "Fon «+49 (30) 901820»PHONE,",
        "«(+44) 20 7946 0958»PHONE / «+14155552671»PHONE",
        "call «(415) 555-2671»PHONE or «1-415-555-2671»PHONE x12; fax «415.555.2671»PHONE.",
        "«415-555-2671»PHONE «415-555-2672»PHONE 2024, «4111-1111-1111-1111»CARD_NUMBER 123 12/27",
        "«+33 1 23 45 67 89»PHONE\n«+971 50 123 4567»PHONE",
        "«8.8.8.8»IP_ADDRESS and «93.184.216.34»IP_ADDRESS:8080, «52.1.2.3»IP_ADDRESS/24",
        "«93.184.216.34»IP_ADDRESS - - [10/Oct/2000:13:55:36] GET /",
        "[«2001:4860:4860::8888»IP_ADDRESS]:53 «2606:2800:220:1:248:1893:25c8:1946»IP_ADDRESS: ok",
        "card «4111 1111 1111 1111»CARD_NUMBER «378282246310005»CARD_NUMBER 12/27 «5555-5555-5555-4444»CARD_NUMBER.",
    ],
)
def test_it_is_masked(text: str) -> None:
    """The text in « » must become a mask of the kind that follows it."""
    plain, expected = "", ""
    for index, piece in enumerate(text.split("«")):
        data, closing, rest = piece.partition("»")
        kind = next((k for k in ("EMAIL", "PHONE", "IP_ADDRESS", "CARD_NUMBER") if rest.startswith(k)), "")
        plain += (data + rest.removeprefix(kind)) if closing else piece
        expected += (f"<{kind}>" + rest.removeprefix(kind)) if index else piece
    assert masked(plain) == expected


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4, v1.2.3.4, foo-1.2.3.4.tar.gz, see section 4.2.1.3",
        "~= 1.4.5.0, >=1.4.5.0, kernel 2.6.18.6; in 2006:: on 224.0.0.0/4",
        "1.2.3.4 Heading\n  2.10.1.1 Heading",
        "192.168.1.1 10.0.0.1 127.0.0.1 203.0.113.5 198.51.100.2 192.0.2.1 256.300.1.2 1.3.6.1.4.1.311.2",
        "2001:db8::1 fe80::1 ::1 std::vector cafe::babe 12:34:56:78 00:1A:2B:3C:4D:5E",
        "2024-01-15 12:34:56 1994-1995 1996-1997 20240115T123456",
        "ISBN 978-3-16-148410-0, 9783161484100, 0-306-40615-2; doi:10.1145/3133956.3134093",
        "d41d8cd98f00b204e9800998ecf8427e deadbeef12345678901234567890 550e8400-e29b-41d4-a716-446655440000",
        "1234567890 1234567890123456 4111 1111 1111 1112 1700000000000 40111111111111111111",
        "250 300 1200\n345 678 1234\n100 200 300 4000 500",
        "3.14159265358979 1,234,567,890 $1,234,567.89 +12.5 -3.4 12.345.678.9012 +10 200 300 400",
        "image@2x.png @property a @ b x@y @user git@ pkg@1.2.3",
        "415-555-26711 x = 12345678 + 87654321 RFC 3986 2005 (2005) 1234-5678",
    ],
)
def test_it_stays(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    ("kind", "precision", "recall"),
    [
        ("email", 0.97, 0.95),
        ("phone", 0.97, 0.95),
        ("ip_address", 1.0, 1.0),
        ("card_number", 1.0, 1.0),
        ("iban", 1.0, 1.0),
    ],
)
def test_precision_and_recall_on_labelled_texts(kind: str, precision: float, recall: float) -> None:
    """A mask that takes a character too much or too little is a false finding and a missed one."""
    scores, mistakes = score(read_labelled())
    assert scores[kind].right + scores[kind].missed >= 7
    assert scores[kind].precision >= precision, mistakes
    assert scores[kind].recall >= recall, mistakes


@pytest.mark.parametrize("letters", ["我们的", "です", "으로", "ได้", "иван", "وهو"])
def test_letters_of_other_scripts_are_boundaries(letters: str) -> None:
    for data, mask in (
        ("li.na@example.org", "<EMAIL>"),
        ("+86 139 1234 5678", "<PHONE>"),
        ("4111111111111111", "<CARD_NUMBER>"),
        ("93.184.216.34", "<IP_ADDRESS>"),
        ("DE44 5001 0517 5407 3249 31", "<IBAN>"),
    ):
        assert masked(letters + data + letters) == letters + mask + letters


def test_texts_of_a_batch_do_not_see_each_other() -> None:
    """A label at the end of one document says nothing about the number that begins the next."""
    for texts in (["Telefon", "612 345 678"], ["Tel. 06 12 34 56 78", "12. 345 678 901"]):
        alone = [find_personal_data(Texts([text])) for text in texts]
        assert len(find_personal_data(Texts(texts))) == sum(map(len, alone))
    assert masked("Telefon\n612 345 678") == "Telefon\n<PHONE>"


@pytest.mark.parametrize(("kind", "one", "other"), [
    ("phone", "+49 30 901820", "+49-30-901820"), ("phone", "０９０－１２３４－５６７８", "090 1234 5678"),
    ("card_number", "4111 1111 1111 1111", "4111-1111-1111-1111"), ("email", "A@B.example", "a＠b.example"),
    ("iban", "DE44 5001 0517 5407 3249 31", "DE44500105175407324931"),
])  # fmt: skip
def test_formatting_is_not_compared(kind: str, one: str, other: str) -> None:
    assert comparable(kind, one) == comparable(kind, other)
    assert comparable(kind, one) != comparable(kind, one + "1")


def test_kinds_can_be_left_and_given_other_masks() -> None:
    text = "bob@example.com, 415-555-2671"
    assert masked(text, email=None, phone="[phone]") == "bob@example.com, [phone]"


def test_the_evidence_has_counts_and_no_data() -> None:
    found = Pii().apply(Texts(["none", "a@b.example c@d.example 8.8.8.8"]))
    assert found.evidence == {1: "email 2, ip_address 1"}
    assert found.signals["email"].tolist() == [0, 2]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*"0123456789+-. ()@:x/", "ab.cd", "415", "::", "2001:", "4111", "\n"]), max_size=40))
def test_masking_is_complete(pieces: list[str]) -> None:
    """A second pass finds nothing new, for any sequence of pieces."""
    text = masked("".join(pieces))
    assert [item for item in find_personal_data(Texts([text])) if "<" not in text[item.start : item.end]] == []
