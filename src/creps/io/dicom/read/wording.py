"""Words of free text in headers, in several languages: split into words, and what a negation takes back."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["is_negated", "says_none", "split_words"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BEFORE = _words(
    "NO NON NOT NONE WO WITHOUT W0 OHNE KEIN KEINE KEINEN KEINER NICHT SANS PAS AUCUN AUCUNE SENZA NESSUN NESSUNA SIN"
    " SEM ZONDER GEEN UTEN INGEN UTAN UDEN BEZ ILMAN NIE UNENHANCED"
)
"""Words that take back what follows them within `REACH` words."""

AFTER = frozenset({"OFF", "AUS", "NONE", "MINUS"})
"""Words that take back the word before them: FS OFF."""

REACH = 3
"""A negation holds so far: NO IV CONTRAST AGENT."""

NEGATION_ENDS = _words("WITH W MIT AVEC CON COM MET MED PLUS POST NACH APRES DOPO DESPUES AND UND ET Y E T1 T2 PD")
"""Words that begin something new: T1 NO FS POST GD."""

REWRITTEN = (
    (re.compile(r"\bW\s*/\s*O(?=\W|$)"), " WO "),
    (re.compile(r"\bW\s*/(?=\s|\w)"), " W "),
    (re.compile(r"(?<=[\w)])\s*=\s*(?:0|N|NO|OFF)\b"), " OFF "),
    (re.compile(r"\b(GD|KM|C|FS|FATSAT|FAT SAT|CM|MDC)-(?=\s|$|[_,;)\]])"), r" \1 MINUS "),
    (re.compile(r"(?:(?<=\s)|^)-(GD|KM|C|FS|CM|MDC)\b"), r" NO \1 "),
    (re.compile(r"\b(GD|KM|C|FS|CM|MDC)\+(?=\s|$|[_,;)\]])"), r" PLUS \1 "),
    (re.compile(r"\+\s?(GD|KM|C|FS|CM|MDC)\b"), r" PLUS \1 "),
)
"""Notations whose signs say what a word would."""


def split_words(text: str) -> list[str]:
    """The words of a text in capitals, without accents, in their order; signs that negate become words."""
    plain = unicodedata.normalize("NFKD", text.upper().replace("ß", "SS"))
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    plain = re.sub(r"([A-Z0-9])_(?=[A-Z0-9+\-])", r"\1 ", plain).replace("_", " ")
    for pattern, written in REWRITTEN:
        plain = pattern.sub(written, plain)
    return [word for word in re.split(r"[^A-Z0-9*]+", plain) if word]


def is_negated(words: list[str], place: int, length: int = 1, since: int = 0) -> bool:
    """Whether a negation takes back the words at a place: NO FS, W/O FAT SAT, OHNE KM, FS OFF.

    Args:
        words: What `split_words` returned.
        place: Where the term begins.
        length: Of how many words it consists.
        since: Where the term before it ended: a negation holds for one term.
    """
    for word in reversed(words[max(since, place - REACH) : place]):
        if word in BEFORE:
            return True
        if word in NEGATION_ENDS:
            break
    after = place + length
    return after < len(words) and words[after] in AFTER


def says_none(text: str) -> bool:
    """Whether a text begins with a negation, as "without contrast" does."""
    return not BEFORE.isdisjoint(split_words(text)[:1])
