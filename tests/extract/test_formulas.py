"""formulas: MathML stays in its sentence, as TeX if the page has it, for each of the usual renderers."""

from __future__ import annotations

import pytest

from bessemer.extract.page import extract_page
from bessemer.extract.settings import TextSettings

SENTENCE = "This sentence belongs to the article and says something of interest. "
TEX = '<annotation encoding="application/x-tex">x^2</annotation>'
SQUARE = "<mrow><msup><mi>x</mi><mn>2</mn></msup></mrow>"
MATHML = '<math xmlns="http://www.w3.org/1998/Math/MathML" {}>{}</math>'
FORMULAS = {
    "annotated": MATHML.format("", f"<semantics>{SQUARE}{TEX}</semantics>"),
    "with an alternative text": MATHML.format('alttext="x^2"', SQUARE),
    "Wikipedia": (
        '<span class="mwe-math-element"><span class="mwe-math-mathml-inline mwe-math-mathml-a11y" style="display:none">'
        + MATHML.format('alttext="{\\displaystyle x^2}"', SQUARE)
        + '</span><img src="a.svg" class="mwe-math-fallback-image-inline" aria-hidden="true" alt="x">'
        "</span>"
    ),
    "KaTeX": (
        '<span class="katex"><span class="katex-mathml">'
        + MATHML.format("", f"<semantics>{SQUARE}{TEX}</semantics>")
        + '</span><span class="katex-html" aria-hidden="true"><span class="mord">x<sup>2</sup></span></span></span>'
    ),
    "MathJax": (
        '<mjx-container><mjx-math aria-hidden="true"><mjx-c>x2</mjx-c></mjx-math><mjx-assistive-mml>'
        + MATHML.format("", f"<semantics>{SQUARE}{TEX}</semantics>")
        + "</mjx-assistive-mml></mjx-container>"
    ),
}


def text_around(formula: str) -> str:
    page = f"<body><main><p>{SENTENCE * 6}</p>{formula}<p>{SENTENCE * 6}</p></main></body>"
    text = extract_page(page.encode(), "text/html", None, "", TextSettings()).text
    return (
        text.removeprefix(SENTENCE * 6)
        .removeprefix((SENTENCE * 6).strip())
        .removesuffix((SENTENCE * 6).strip())
        .strip()
    )


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_stays_inside_its_sentence(name: str) -> None:
    sentence = (
        f"<p>The value {FORMULAS[name]}, the square of a number, is never below zero for numbers that are real.</p>"
    )
    expected = r"The value \(x^2\), the square of a number, is never below zero for numbers that are real."
    assert text_around(sentence) == expected


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ('<script type="math/tex">x^2 < y</script>', r"\(x^2 < y\)"),
        ('<script type="math/tex; mode=display">% <![CDATA[\nx^2 &= y %]]></script>', r"\[x^2 &= y\]"),
        ('<script type="text/javascript">x^2</script>', ""),
        ('<script type="math/tex"> </script>', ""),
    ],
)
def test_the_script_that_holds_a_formula_for_mathjax_is_its_text(script: str, text: str) -> None:
    sentence = f"<p>The value {script}, the square of a number, is never below zero for numbers that are real.</p>"
    found = text_around(sentence)
    assert " ".join(found.split()).replace(" ,", ",") == (
        f"The value {text}, the square of a number, is never below zero for numbers that are real."
    ).replace(" ,", ",")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<mi>a</mi><mo>+</mo><mi>b</mi>", "a+b"),
        (SQUARE, "x^2"),
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mn>2</mn></mfrac>", "(a+b)/2"),
        ("<msub><mi>a</mi><mrow><mi>i</mi><mo>-</mo><mn>1</mn></mrow></msub>", "a_(i-1)"),
        ("<msubsup><mo>∑</mo><mn>0</mn><mi>n</mi></msubsup><msqrt><mi>k</mi></msqrt>", "∑_0^nsqrt(k)"),
        ("<mroot><mi>x</mi><mn>3</mn></mroot>", "root(x, 3)"),
        ("<semantics><mi>y</mi><annotation-xml><ci>y</ci></annotation-xml></semantics>", "y"),
    ],
)
def test_a_formula_without_its_source_is_written_in_one_line(content: str, text: str) -> None:
    sentence = (
        f"<p>The value {MATHML.format('', content)} is written without any source of it in this document here.</p>"
    )
    assert text_around(sentence) == f"The value {text} is written without any source of it in this document here."


def test_a_formula_between_paragraphs_is_a_block() -> None:
    block = FORMULAS["Wikipedia"].replace("span", "div").replace("<math", '<math display="block"')
    for formula in (block, MATHML.format('display="block" alttext="x^2"', SQUARE)):
        assert text_around(formula) == r"\[x^2\]"
