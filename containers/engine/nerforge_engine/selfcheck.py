"""A comparison of the exact engine with spaCy on the pipeline that is about to be served.

The derivations say that the two agree; this says that they do, with these weights, this tokenizer and these
versions of everything. It is meant to take a small part of a second, and every kind of way through the
engine: texts with many names, with none, long and empty ones, all sorts of white space, punctuation that the
tokenizer has rules for, other scripts, emoji.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spacy.language import Language

    from .exact import ExactRecognizer

ALONE = 4  # each fourth text is asked alone too
SLICE = 400  # characters: the last text is compared by slices too

_SENTENCES = (
    "Ada Lovelace met Charles Babbage in London on 5 June 1833.",
    "The United Nations moved to New York City in the early 1950s, said Trygve Lie of Norway.",
    "Apple Inc. paid $3.5 billion (about €2.9bn) for 12% of Beats Electronics LLC in May 2014.",
    "Dr. Müller-Lüdenscheidt flog am 3. März 2021 mit der Lufthansa von Köln nach São Paulo.",
    "NASA's Dragonfly will leave for Titan on a Falcon Heavy; ESA's Juice won't.",
    "she said: \"it's O'Brien's, isn't it?\" -- he'd've said 'no' ... y'all can't, I'm sure!!!",
    "Mail jane.doe+test@example.co.uk or see https://www.example.com/a/b?c=d#e, www.test.org.",
    "AC/DC played at 7:30pm/8p.m. in the U.S.A. (e.g. Washington, D.C.) for 10,000+ fans.",
    "Real Madrid 3-2 FC Barcelona: Messi (12', 45+1') and Cristiano Ronaldo, C.",
    "В Москве Анна Каренина ждала поезд из Санкт-Петербурга до 8 часов.",  # noqa: RUF001
    "東京都の田中さんは、2020年に京都大学で「人工知能」を学んだ。",
    "زار محمد القاهرة في عام ٢٠١٩ مع شركة أرامكو.",
    "Ο Σωκράτης από την Αθήνα μίλησε με τον Πλάτωνα.",  # noqa: RUF001
    "नरेंद्र मोदी ने मुंबई में भाषण दिया।",
    "👩‍👩‍👧 loves 🇫🇷 Paris 😀😀:-) <3 #blessed @jack ^_^ o_O (-: 8-D",
    "it is a plain line with nothing of note in it and no capital letters",
    "THE WORLD BANK AND THE INTERNATIONAL MONETARY FUND MET IN WASHINGTON ON MONDAY",
    "President of the Republic of South Africa Nelson Rolihlahla Mandela of the African National Congress",
)
TEXTS = (
    *_SENTENCES,
    "",
    " ",
    "\n",
    "\t \n\r\n  \u3000\xa0",
    " Ada Lovelace",
    "Ada Lovelace ",
    "Ada  Lovelace\tmet\nCharles   Babbage\r\n\r\nin\u00a0London .\n",
    "Paris",
    "x",
    "...",
    ": -) he 's -)a . a.m . it ' s 8 -D (' ') d'. .m. o'clock",
    "e\u0301clair \u200b\ufeff a\u0000b \U0001d4d0\U0001d4ed\U0001d4ea \u202ereversed\u202c",
    "-".join(["Rhine", "Main", "Danube"] * 20),
    "\n\n".join(_SENTENCES[::2]),
)


def difference(engine: "ExactRecognizer", nlp: "Language") -> str | None:
    """What the engine finds otherwise than its pipeline, in a sentence; None if nothing."""
    try:
        expected = _by_spacy(nlp)
    except Exception as error:
        return f"spaCy itself raised {type(error).__name__} in the comparison"
    try:
        found: dict[str, list[tuple[str, Any, Any]]] = {
            "all at once": list(zip(TEXTS, engine.entities(TEXTS), expected, strict=True)),
            "alone": [
                (text, engine.entities([text])[0], theirs)
                for text, theirs in zip(TEXTS[::ALONE], expected[::ALONE], strict=True)
            ],
            "by slices": [(TEXTS[-1], list(engine.piecewise(TEXTS[-1], SLICE))[-1], expected[-1])],
        }
    except Exception as error:
        return f"it raised {type(error).__name__} in the comparison with spaCy"
    for way, triples in found.items():
        for text, ours, theirs in triples:
            if [entity[:3] for entity in ours] != theirs:
                return f"it differs from spaCy on {text[:60]!r}, asked {way}"
    return None


def _by_spacy(nlp: "Language") -> list[list[tuple[int, int, str]]]:
    # The exception must not cross the zone's end: spaCy closes a zone only when its block ends normally.
    with nlp.memory_zone():
        try:
            return [
                [(entity.start_char, entity.end_char, entity.label_) for entity in doc.ents]
                for doc in nlp.pipe(TEXTS, batch_size=len(TEXTS))
            ]
        except Exception as error:
            failure = error
    raise failure
