"""Decides from the words around a number whether it is a phone number.

`Tel. 612 345 678` is a phone number and `order no. 612 345 678` is not. The search covers the line of the number, at
most 40 characters before it, and the end of the line above.
"""

from __future__ import annotations

import re

WINDOW = 40
"""Number of characters before a number that are searched for a word."""
REACH = 16
"""Number of characters after a number in which a label in brackets may start."""

_WORDS = """
    tel tél telefon telefono telefone teléfono telefonnummer telefonisch telephone téléphone phone phones mobile mob
    cell cellphone fax faks telefax ph hotline whatsapp wa viber sms call calls calling dial ring contact
    handy handynummer mobil mobilnummer mobiltelefon rufnummer anrufen durchwahl rufen appelez appeler portable
    joignable llame llamar llama móvil celular fono ligue ligar telemóvel contato contacto chiama chiamare
    chiamate cellulare
    bel bellen gsm telefoon telefoonnummer puh puhelin
    soita tlf tlph zadzwoń zadzwonić komórka volejte hívjon sunați sunaţi ara arayın cep
    thoại đt sđt gọi hubungi telp hp telepon telpon tawagan simu
    тел телефон телефона телефону телефоны моб мобильный мобильного факс звоните звонить звонок позвоните позвонить
    дзвоніть дзвонити τηλ τηλέφωνο τηλεφώνου κιν κινητό φαξ πάρτε
    هاتف الهاتف جوال موبايل فاكس اتصل تلفن تماس موبایل همراه טלפון טל נייד פקס
"""
_LABELS = frozenset(_WORDS.split())
"""Words before a phone number."""
_PIECES = """
    电话 電話 手机 手機 致电 致電 拨打 撥打 来电 传真 傳真 热线 熱線 联系方式 聯絡 联系人 座机 微信 号码 號碼 携帯 番号
    ファックス ファクス 전화 휴대폰 핸드폰 연락처 문의 팩스 โทร แฟกซ์ มือถือ เบอร์
    फ़ोन फोन मोबाइल संपर्क ফোন মোবাইল தொலைபேசி ဖုန်း ទូរស័ព្ទ ስልክ
"""
_UNSPACED_LABELS = tuple(_PIECES.split())
"""Like `_WORDS`, for scripts that do not separate words or that inflect them. They also match inside a word."""

_OWN_NUMBER = re.compile(
    r"(?:\b(?:(?:my|our|his|her)[ ](?:\w+[ ])?number|meine?[ ]nummer|unsere[ ]nummer|mi[ ]número|nuestro[ ]número"
    r"|mon[ ]numéro|notre[ ]numéro|meu[ ]número|nosso[ ]número|il[ ]mio[ ]numero|mijn[ ]nummer|mój[ ]numer|moje[ ]číslo"
    r"|mitt[ ]nummer|mit[ ]nummer|мой[ ]номер|наш[ ]номер|numaram|το[ ]νούμερό[ ]μου)\b"
    r"(?:[ ](?:is|ist|es|est|é|è|er|är|to|je))?|我的号码|我的號碼|私の番号)[ ]?(?:是|は)?[ ]?[:：]?[ ]?\Z",
    re.I,
)
"""Words such as `my number is`, directly before a number."""
_OWN_NUMBER_WORD = re.compile("n[uú]m|номер|číslo|νούμερο|号码|號碼|番号", re.I)

_LATIN = "a-zA-ZÀ-ÖØ-ɏ\u1e00-\u1eff"
_WORD = re.compile(rf"[{_LATIN}]+|[^\W\d_{_LATIN}]+")
"""Letters of one script."""
_NOUN_RIGHT_AFTER = re.compile(
    r"[ ](?:t[eé]l|telefon|tel[eé]fono|telefone|t[eé]l[eé]phone|phone|fax|gsm|тел|телефон|τηλ|τηλέφωνο|هاتف|טלפון)\.?"
    r"(?=[ ]*(?:[\n,;)]|\Z))",
    re.I,
)
"""A noun that follows a number and ends the line or the clause. `300 000 mobile users` does not match."""
_MASK = re.compile(r"<[A-Z_]+>")
_BRACKET = re.compile(r"[ ]?[(（\[]\s*")
_NOUN_RIGHT_BEFORE = re.compile(
    r"(?:\b(?:tel|ph|tél|telef\w*|t[eé]l[eé]phone|phone|mobile|cell|fax|mob|mobil|handy|gsm|тел|телефон|моб|τηλ|هاتف|جوال|טל)"
    r"|电话|電話|手机|手機|传真|전화|โทร)[.:：\s]*\Z",
    re.I,
)
_OTHER_NUMBER = re.compile(
    r"(?:(?<![a-z])(?:pages?|pp?|lines?|rows?|order|invoice|item|id|isbn|issn|doi|rfc|part|product|serial|sku|ticket|ref|"
    r"reference|version|tracking|transaction|account|case|chapter|section|step|epoch|time|timestamp|seed|port|seiten?|"
    r"artikel|bestellung|rechnung|commande|facture|pedido|factura|ordine|заказ|стр)"
    r"|订单|單號|单号|编号|編號|页|注文番号|주문번호)"
    r"\.?(?:[ ]?(?:no|nr|num|number|id)\b\.?|[ ]?[#№])?[\s:：#№=\"'(号號-]*\Z|[#№]\s*\Z",
    re.I,
)


def line_before(joined: str, start: int, floor: int) -> str:
    """The characters on the line before `start`; the document starts at `floor`."""
    return joined[max(floor, start - WINDOW) : start].rpartition("\n")[2]


def is_labelled(joined: str, start: int, floor: int) -> bool:
    """Whether a word such as `Tel.` occurs before `start` on the same line, or ends the line above."""
    above, _, line = joined[max(floor, start - WINDOW) : start].rpartition("\n")
    if _WORD.search(line):
        return has_label(line) or bool(_OWN_NUMBER.search(line))
    words = _WORD.findall(_MASK.sub(" ", above.rpartition("\n")[2].rstrip(" \t:.：")))
    return bool(words) and has_label(words[-1])


def is_labelled_after(joined: str, end: int) -> bool:
    """Whether a word such as `(mobile)` follows, or a noun such as `phone` that ends the clause."""
    if _NOUN_RIGHT_AFTER.match(joined, end):
        return True
    bracket = _BRACKET.match(joined, end)
    word = _WORD.match(joined, bracket.end()) if bracket else None
    return word is not None and has_label(word[0])


def may_be_labelled(text: str) -> bool:
    """A quick test of the text around a number."""
    return has_label(text) or bool(_OWN_NUMBER_WORD.search(text))


def has_label(text: str) -> bool:
    """Whether `text` contains a label."""
    if text.isascii() and text.upper() == text.lower():
        return False  # a quick test: no letters
    if any(word.lower() in _LABELS for word in _WORD.findall(_MASK.sub(" ", text))):
        return True
    return not text.isascii() and any(label in text for label in _UNSPACED_LABELS)


def follows_noun(before: str) -> bool:
    """Whether `before` ends in a noun such as `Phone:`. After such a noun, seven digits in one piece are a number."""
    return bool(_NOUN_RIGHT_BEFORE.search(before))


def names_other_number(before: str) -> bool:
    """Whether `before` ends in the name of another kind of number, such as `order no.`."""
    return bool(_OTHER_NUMBER.search(before)) and not follows_noun(before.rstrip("#№: "))
