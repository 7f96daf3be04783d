"""The exact engine finds what spaCy finds: on corpora, on what hypothesis thinks of, at any batch."""

import itertools
import random
import sys
from pathlib import Path

import pytest
import spacy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nerforge_engine import exact, selfcheck, tokens
from nerforge_engine.recognizer import SpacyRecognizer, recognizer
from support.ner_models import by_spacy

SPACES = [character for character in map(chr, range(sys.maxunicode + 1)) if character.isspace()]
AWKWARD = [
    *selfcheck.TEXTS,
    *(f"Ada{space}Bob saw{space}{space}Rome {space}in{space} Oslo{space}" for space in SPACES),
    *(f"{space}Ada" for space in SPACES),
    # matches of special cases that reach over a space, or nearly do
    "it 's -)a : -)x it 's. :- ) (-: (- :o 'em' 'e m. d' .m. i .e. Ph .D., a.m .x 8 -D) o _O O' Brien",
    ". . . ' ' ' - - ) ) : : 's 's. n't n't, can 't. do n't' we 'll-ve",
]


def in_batches(found, texts, batch):
    """What a recognizer finds, with so many texts at a time."""
    parts = (found.entities(texts[at : at + batch]) for at in range(0, len(texts), batch))
    return [[entity[:3] for entity in entities] for part in parts for entities in part]


def differing(texts, ours, theirs):
    return [(text, a, b) for text, a, b in zip(texts, ours, theirs, strict=True) if a != b]


def random_unicode(count):
    """Texts of random characters from everywhere, with white space of every kind."""
    chance = random.Random(1)
    ranges = [(32, 127), (32, 127), (160, 0x250), (0x370, 0x530), (0x600, 0x700), (0x4E00, 0x4F00)]
    ranges += [(0x1F300, 0x1F6FF), (0x2000, 0x2070), (0, 32), (0xE000, sys.maxunicode + 1)]
    texts = []
    for __ in range(count):
        characters = [chr(chance.randrange(*chance.choice(ranges))) for __ in range(chance.randrange(120))]
        spaced = (c if chance.random() < 0.8 else chance.choice([" ", " ", *SPACES]) for c in characters)
        texts.append("".join(spaced))
    return texts


@pytest.fixture(scope="module")
def corpus_texts(corpora):
    """All of WNUT17 and WikiGold, in texts of 1 to 60 words."""
    words = []
    for file in ("wnut17/train.conll", "wnut17/dev.conll", "wnut17/test.conll", "wikigold/wikigold.conll"):
        lines = (corpora / file).read_text(encoding="utf-8").splitlines()
        words += [line.split()[0] for line in lines if line.strip() and not line.startswith("-DOCSTART-")]
    chance, texts, at = random.Random(2), [], 0
    while at < len(words):
        length = chance.choice((1, 5, 20, 20, 60))
        texts.append(" ".join(words[at : at + length]))
        at += length
    return texts


def test_no_difference_on_the_corpora(pair, corpus_texts):
    nlp, found = pair
    theirs = by_spacy(nlp, corpus_texts)
    assert sum(map(len, theirs)) > len(corpus_texts) / 4  # it would mean little if the model found nothing
    for batch in (1, 7, 64):
        assert differing(corpus_texts, in_batches(found, corpus_texts, batch), theirs) == []


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_no_difference_on_awkward_texts(pair, batch):
    nlp, found = pair
    texts = AWKWARD + random_unicode(150)
    assert differing(texts, in_batches(found, texts, batch), by_spacy(nlp, texts)) == []


words = st.sampled_from(
    [
        "Ada",
        "Müller",
        "Rome",
        "NASA",
        "Inc.",
        "it's",
        "'s",
        "n't",
        "don't",
        "U.S.",
        ")",
        "-)",
        ":",
        "(:",
        ".",
        ",",
        "'",
        '"',
        "-",
        "8-D",
        "a.m.",
        "x'y",
        "--",
        "3km",
    ]
)
texts = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(words, st.text(max_size=5)), max_size=25).map(" ".join),
    st.lists(st.one_of(words, st.sampled_from(SPACES)), max_size=40).map("".join),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(texts, max_size=9))
def test_any_texts(pair, batch):
    nlp, found = pair
    assert in_batches(found, batch, len(batch) or 1) == by_spacy(nlp, batch)


def test_a_long_text_goes_in_slices(pair):
    nlp, found = pair
    text = "\n".join(itertools.chain(*[selfcheck.TEXTS[:18]] * 8)) + "  "
    assert len(text) > 2 * exact.SLICE
    *pieces, entities = found.piecewise(text)
    assert len(pieces) > 2
    assert set(pieces) == {None}
    assert [entity[:3] for entity in entities] == by_spacy(nlp, [text])[0]
    assert found.entities(["Ada", text, "Bob"])[1] == entities


def test_slices_are_bounded(pair):
    """However it is cut, the same entities come out; also where special cases reach over the cut."""
    nlp, found = pair
    text = " ".join(AWKWARD)
    expected = by_spacy(nlp, [text])[0]
    for size in (700, 1500):
        *pieces, entities = found.piecewise(text, size)
        assert [entity[:3] for entity in entities] == expected
        assert len(pieces) > len(text) // size


@pytest.mark.parametrize("text", ["x-" * 4_200, "Ada " + "y" * 9_000 + " Bob"])
def test_a_word_longer_than_a_slice_is_left_to_spacy(pair, text):
    nlp, found = pair
    assert [entity[:3] for entity in found.entities([text])[0]] == by_spacy(nlp, [text])[0]


# Not of the model with one piece: spaCy's step model puts a ReLU behind it (``_nonlinearity`` in
# parser_model.pyx), and its greedy parser, which chose the entities, does not (``predict_states``).
@pytest.mark.parametrize("name", ["english_with_its_own", "english_that_listens", "german_with_vectors"])
def test_scores_are_those_of_spacys_own_step_model(models, name):
    nlp = models(name)
    found = recognizer(nlp)
    theirs = SpacyRecognizer(nlp, "").entities(AWKWARD)
    ours = found.entities(AWKWARD)
    pairs = [(a.score, b.score) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)]
    assert len(pairs) > 10
    assert all(0 < a <= 1 and abs(a - b) < 1e-3 for a, b in pairs)


def test_temperature_changes_scores_and_nothing_else(models):
    nlp = models("english_with_its_own")
    cold, warm = (recognizer(nlp, temperature) for temperature in (1.0, 3.0))
    sharp, soft = cold.entities(selfcheck.TEXTS), warm.entities(selfcheck.TEXTS)
    assert [[e[:3] for e in x] for x in sharp] == [[e[:3] for e in x] for x in soft]
    theirs = SpacyRecognizer(nlp, "", 3.0).entities(selfcheck.TEXTS)
    scores = [
        (a.score, b.score) for x, y in zip(soft, theirs, strict=True) for a, b in zip(x, y, strict=True)
    ]
    assert all(abs(a - b) < 1e-3 for a, b in scores)
    assert sum(a.score for x in sharp for a in x) > sum(a for a, __ in scores)


def test_what_spacy_refuses_is_refused_alike(pair):
    nlp, found = pair
    before = found.entities(["Ada met Bob in Rome"])
    for text in ("lone \ud800 surrogate", "x " * nlp.max_length):
        with pytest.raises(ValueError) as theirs:
            nlp(text)
        with pytest.raises(type(theirs.value)) as ours:
            found.entities(["Ada", text])
        assert str(ours.value) == str(theirs.value)
    assert found.entities(["Ada met Bob in Rome"]) == before


def test_nothing_in_nothing_out(pair):
    __, found = pair
    assert found.entities([]) == []
    assert list(found.piecewise("")) == [[]]
    assert found.entities(["", " ", "\n"]) == [[], [], []]


def test_a_full_table_forgets_and_stays_right(models, monkeypatch):
    """Many more words than the table holds, with those that come again in between."""
    monkeypatch.setattr(exact, "_TABLE_BYTES", 0)
    monkeypatch.setattr(exact, "_BATCH", 300)
    nlp = models("english_with_its_own")
    found = recognizer(nlp)
    assert found.engine == "exact"
    chance = random.Random(3)
    fresh = (f"Ada{number} {chance.choice(AWKWARD)[:80]} met Rome{number}" for number in range(300))
    texts = list(fresh)
    assert differing(texts, in_batches(found, texts, 5), by_spacy(nlp, texts)) == []
    assert len(found._words._young) + len(found._words._old) <= 2 * 300 + 1


def test_the_pipeline_stays_as_it_is(models):
    nlp = models("english_that_listens")
    found = recognizer(nlp)
    words, strings = len(nlp.vocab), len(nlp.vocab.strings)
    strings_of_its_own = len(found._tokenizer._vocab.strings)
    found.entities([f"Newword{number} and Otherword{number} in Rome" for number in range(500)])
    assert (len(nlp.vocab), len(nlp.vocab.strings)) == (words, strings)
    assert len(found._tokenizer._vocab.strings) == strings_of_its_own


def test_memory_is_flat_under_words_never_seen(models, monkeypatch):
    """Once both generations of the table are full and the vocabulary was renewed a few times."""
    monkeypatch.setattr(tokens, "_RENEWAL", 5_000)
    found = recognizer(models("english_with_its_own"))
    words = (f"Word{number}xyz" for number in itertools.count())
    sizes = []
    for __ in range(2):
        for __ in range(45):
            found.entities([" ".join(itertools.islice(words, 20)) for __ in range(50)])
        sizes.append(int(Path("/proc/self/statm").read_text().split()[1]))
    assert sizes[1] <= 1.05 * sizes[0]


def test_an_entity_longer_than_any_window(models):
    """A model for which nothing ever ends."""
    nlp = models("english_with_its_own")
    upper = nlp.get_pipe("ner").model.get_ref("upper")
    moves = [nlp.get_pipe("ner").moves.get_class_name(at) for at in range(len(upper.get_param("b")))]
    bias = upper.get_param("b").copy()
    for at, move in enumerate(moves):
        bias[at] += {"I": 60, "B": 3}.get(move[0], 0)
    upper.set_param("b", bias)
    found = recognizer(nlp)
    assert found.engine == "exact", found.reason
    texts = [" ".join(["Ada met Bob in Rome"] * count) for count in (1, 3, 40)]
    theirs = by_spacy(nlp, texts)
    assert max(end - start for entities in theirs for start, end, __ in entities) > 500
    assert in_batches(found, texts, 3) == theirs


def test_a_tokenizer_with_no_rules_but_spaces(models):
    nlp = models("english_with_its_own")
    nlp.tokenizer = spacy.tokenizer.Tokenizer(nlp.vocab)
    found = recognizer(nlp)
    assert found.engine == "exact", found.reason
    assert in_batches(found, AWKWARD, 7) == by_spacy(nlp, AWKWARD)
