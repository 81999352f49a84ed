"""Replaces MathML formulas by text inside their sentence: TeX, or the symbols of the formula in one line.

Trafilatura removes `<math>` and its formula, unless the element has its TeX source and nothing around it is hidden.
Wikipedia hides the MathML and shows an image; KaTeX and MathJax hide it next to their own rendering. Here the formula
replaces all of these elements, in the delimiters that trafilatura uses: `\\(...\\)`, and `\\[...\\]` for a block.
"""

from __future__ import annotations

from typing import Any

from lxml import etree

_TEX = etree.XPath(
    "string(.//*[local-name() = 'annotation'][contains('application/x-tex application/x-latex TeX', @encoding)])"
)
_WRAPPERS = frozenset(
    {
        *("mwe-math-element", "mwe-math-mathml-inline", "mwe-math-mathml-display", "mwe-math-mathml-a11y"),
        *("katex", "katex-mathml", "katex-display"),
        *("MathJax", "MathJax_CHTML", "MathJax_SVG", "MathJax_Display", "MJX_Assistive_MathML"),
    }
)
_DISPLAY_STYLE = "{\\displaystyle "
_NOT_TEXT = frozenset({"annotation", "annotation-xml"})


def write_out(formula: Any) -> None:
    """Replaces a `<math>` element, and the elements that only render it, by text."""
    tex = (_TEX(formula) or formula.get("alttext") or "").strip()
    if tex.startswith(_DISPLAY_STYLE) and tex.endswith("}"):
        tex = tex[len(_DISPLAY_STYLE) : -1].strip()
    is_block = formula.get("display") == "block"
    opening, closing = ("\\[", "\\]") if is_block else ("\\(", "\\)")
    text = f"{opening}{' '.join(tex.split())}{closing}" if tex else _symbols(formula)
    outer = formula
    for ancestor in formula.iterancestors():
        if not (ancestor.tag.startswith("mjx-") or _WRAPPERS & set(ancestor.get("class", "").split())):
            break
        outer = ancestor
    if outer.tag == "div":
        paragraph = outer.makeelement("p")
        paragraph.text, paragraph.tail = text, outer.tail
        outer.getparent().replace(outer, paragraph)
    else:
        outer.tail = text + (outer.tail or "")
        outer.drop_tree()


def write_out_script(script: Any) -> None:
    """Replaces `<script type="math/tex">`, the source of a formula for MathJax 2, by text."""
    tex = " ".join((script.text or "").removeprefix("% <![CDATA[").removesuffix("%]]>").split())
    is_block = "mode=display" in script.get("type", "").replace(" ", "")
    opening, closing = ("\\[", "\\]") if is_block else ("\\(", "\\)")
    script.tail = (f"{opening}{tex}{closing}" if tex else "") + (script.tail or "")
    script.drop_tree()


def _symbols(element: Any) -> str:
    """The formula in one line: `x^2`, `a_1`, `(a+b)/2`, `sqrt(x)`. The depth of the page bounds the recursion."""
    tag = element.tag if isinstance(element.tag, str) else ""
    if tag in _NOT_TEXT:
        return ""
    parts = [_symbols(child) for child in element]
    if tag in ("msup", "mover") and len(parts) == 2:
        return f"{parts[0]}^{_group(parts[1])}"
    if tag in ("msub", "munder") and len(parts) == 2:
        return f"{parts[0]}_{_group(parts[1])}"
    if tag in ("msubsup", "munderover") and len(parts) == 3:
        return f"{parts[0]}_{_group(parts[1])}^{_group(parts[2])}"
    if tag == "mfrac" and len(parts) == 2:
        return f"{_group(parts[0])}/{_group(parts[1])}"
    if tag == "mroot" and len(parts) == 2:
        return f"root({parts[0]}, {parts[1]})"
    inside = " ".join((element.text or "").split()) + "".join(parts)
    return f"sqrt({inside})" if tag == "msqrt" else inside


def _group(part: str) -> str:
    return part if len(part) <= 1 or part.isalnum() else f"({part})"
