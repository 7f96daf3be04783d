"""What is doubtful about examples: each kind is found, named by file and line, and nothing else is."""

import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nerforge_contract import corpus, quality
from nerforge_contract.corpus import Example
from nerforge_contract.findings import PLACES, Finding

PARTS = ("train", "dev", "test")
FILES = {part: f"{part}.jsonl" for part in PARTS}


def example(marked, line=1):
    """``"[Ada](PER) left"`` as an example."""
    text, spans = "", []
    for before, entity, label in re.findall(r"(.*?)(?:\[(.*?)\]\((\w+)\)|$)", marked, re.DOTALL):
        text += before
        if label:
            spans.append((len(text), len(text) + len(entity), label))
            text += entity
    return Example(text, tuple(spans), None, line)


def examples(*marked):
    return [example(each, line) for line, each in enumerate(marked, 1)]


def good(seed, count=60):
    """Texts of which nothing is to be said: names enough, none twice, and some without an entity."""
    chosen = random.Random(seed)
    texts = [f"[{chosen.getrandbits(60):x}](PER) left {chosen.getrandbits(60):x}" for __ in range(count)]
    return [*texts, f"it rained on {chosen.getrandbits(60):x}"]


def told(train=(), dev=(), test=()):
    """What is found in these texts beside good ones, as one line each."""
    parts = {
        part: examples(*marked, *good(part)) for part, marked in zip(PARTS, (train, dev, test), strict=True)
    }
    return [str(finding) for finding in quality.examine(parts, FILES)]


def test_good_data_has_nothing_wrong():
    assert told() == []


def test_words_are_told_by_name_file_and_line():
    assert example("[Ada](PER) met [Bob](PER).") == Example(
        "Ada met Bob.", ((0, 3, "PER"), (8, 11, "PER")), None, 1
    )


# --- texts that recur ---


def test_a_leak_is_found_whatever_the_case_and_the_white_space():
    found = told(
        train=["[Ada](PER) lives in Rome.", "[Bob](PER) is in Oslo"],
        test=["[ADA](PER)  lives in Rome .", "[Bob](PER) is in Oslo", "[Eve](PER) is in Oslo"],
    )
    assert found == [
        "test: 2 of its 64 texts found in train too (1 but for case or white space): its scores flatter the "
        "model: test.jsonl:1 is train.jsonl:1, 'ADA  lives in Rome .'; "
        "test.jsonl:2 is train.jsonl:2, 'Bob is in Oslo'"
    ]


def test_case_is_that_of_every_language():
    (line,) = told(train=["[Ada](PER) in der Straße"], dev=["[ADA](PER) IN DER STRASSE"])
    assert line.startswith("dev: 1 of its 62 texts found in train too (1 but for case")


def test_dev_is_compared_too_and_the_worst_leak_comes_first():
    text = "[Ada](PER) lives in Rome"
    found = told(train=[text], dev=[text], test=[text])
    assert [line.split(":")[0] for line in found] == ["test", "dev", "test"]
    assert [re.search(r"found in (\w+) too", line)[1] for line in found] == ["train", "train", "dev"]


def test_headings_and_numbers_may_recur():
    headings = ["1 .", "Early life", "See also there"]
    assert told(train=headings, test=[*headings, "Early life"]) == []
    assert len(told(train=["see also over there"], test=["see also over there"])) == 1
    assert len(told(train=["[Ada](PER)"], test=["[Ada](PER)"])) == 1
    leaked, contradiction = told(train=["[Ada](PER)"], test=["Ada"])
    assert leaked.startswith("test: 1 of") and contradiction.startswith("1 recurring text marked")


def test_repetitions_within_a_part_are_counted_and_only_the_first_are_named():
    (line,) = told(train=["[Ada](PER) lives in Rome"] * 6)
    assert line.startswith("train: 5 repetitions among its 67 texts; they weigh more: train.jsonl:2 repeats")
    assert line.count("repeats train.jsonl:1") == PLACES
    assert line.endswith("; and 2 more")


def test_a_text_that_is_marked_in_two_ways_is_a_contradiction():
    found = told(train=["[Ada](PER) left Rome", "[Bob](PER) left Oslo"], dev=["[Ada](PER) left [Rome](PER)"])
    assert found[1] == (
        "1 recurring text marked in more than one way: train.jsonl:1 and dev.jsonl:1, 'Ada left Rome'"
    )


def test_a_name_that_is_marked_in_another_place_of_the_text_is_a_contradiction():
    found = told(train=["[May](PER) came in May", "[MAY](PER)  came in may .", "May came in [May](PER) ."])
    assert "1 recurring text marked in more than one way: train.jsonl:2 and train.jsonl:3, " in found[0]
    assert not any("more than one way" in line for line in told(train=["Dr [May](PER)", "Dr  [ May](PER)"]))


def test_a_sentence_without_white_space_is_no_heading():
    sentences = ["昨天下午我们在那里等了很久", "เมื่อวานนี้ฝนตกหนักมากทั้งวัน"]
    found = told(train=sentences, test=sentences)
    assert found[0].startswith("test: 2 of its 63 texts found in train too")
    headings = ["参考文献", "早年生活", "อ้างอิง"]
    assert told(train=headings, test=headings) == []


# --- mentions ---


def mentions(usual, odd, count=13):
    """A name marked in one way that often, and in another once more."""
    return [f"{number} {usual}" for number in range(count)] + [f"last {odd}"]


@pytest.mark.parametrize(
    ("usual", "odd", "expected"),
    [
        ("[Rome](LOC)", "[Rome](PER)", "'Rome' is LOC 13 times, PER 1 (train.jsonl:14)"),
        ("[Rome](LOC)", "Rome.", "'Rome' is LOC 13 times, unmarked 1 (train.jsonl:14)"),
        ("they", "[they](ORG)", "'they' is unmarked 13 times, ORG 1 (train.jsonl:14)"),
        ("[New York](LOC)", "(New York)", "'New York' is LOC 13 times, unmarked 1 (train.jsonl:14)"),
    ],
)
def test_a_mention_unlike_all_others_is_named(usual, odd, expected):
    assert f"1 name with 1 mention marked unlike nearly all others: {expected}" in told(mentions(usual, odd))


@pytest.mark.parametrize(
    "odd",
    [
        "Romeo, Romania and roMe are other words",
        "[Rome Film Fest](ORG) has it within another name",
    ],
)
def test_what_only_contains_the_name_is_no_mention(odd):
    assert not any("unlike nearly all" in line for line in told(mentions("[Rome](LOC)", odd)))


def test_the_longest_name_is_meant():
    text = [*mentions("[New York](LOC)", "nothing"), *mentions("[York](LOC)", "New York")]
    (line,) = [line for line in told(text) if "unlike" in line]
    assert "'New York' is LOC 13 times, unmarked 1" in line and "'York'" not in line
    text = [*mentions("[Rome](LOC)", "nothing"), *mentions("[Rome Film Fest](ORG)", "Rome Film Fest")]
    (line,) = [line for line in told(text) if "unlike" in line]
    assert "'Rome Film Fest' is ORG 13 times, unmarked 1" in line and "'Rome'" not in line


def test_a_name_with_two_meanings_is_no_mistake():
    texts = [*mentions("[Europa](BODY)", "[Europa](ROCKET)", 12), *mentions("[May](PER)", "in May", 5)]
    assert not any("unlike nearly all" in line for line in told(texts))


def test_the_unlikeliest_comes_first():
    texts = [*mentions("[Rome](LOC)", "Rome", 14), *mentions("[Ada](PER)", "Ada", 30)]
    (line,) = [line for line in told(texts) if "unlike" in line]
    assert line.startswith("2 names with 2 mentions") and line.index("'Ada'") < line.index("'Rome'")


def test_a_script_with_vowel_signs_is_cut_between_words():
    assert not any("unlike" in line for line in told(mentions("[कि](PER)", "किताब")))
    assert any("unlike" in line for line in told(mentions("[कि](PER)", "कि, ताब")))


# --- labels ---


def test_rare_labels_are_counted_and_the_rarest_comes_first():
    marked = [f"{n} [Rome{n}](LOC)" for n in range(49)] + [f"{n} [Acme{n}](ORG)" for n in range(7)]
    found = told(train=marked, dev=marked[:1] + marked[-1:], test=marked[:1] + marked[-1:])
    rare = "train: 2 labels of 3 with fewer than 50 entities, too few to learn well: ORG 7; LOC 49"
    assert rare in found


def test_fifty_entities_are_enough():
    marked = [f"{n} [Rome{n}](LOC)" for n in range(50)]
    assert not any("too few" in line for line in told(marked))


def test_a_part_that_lacks_a_label_of_trains_is_named():
    marked = [f"{n} [Rome{n}](LOC) of [Acme{n}](ORG)" for n in range(50)]
    assert told(train=marked, dev=["x [Oslo](LOC)"], test=["y [Oslo](LOC) of [Emca](ORG)"]) == [
        "dev has none of ORG: how well that is found cannot be seen there"
    ]


def test_a_train_that_is_all_entities_is_told():
    train = examples(*good("train")[:-1])
    (finding,) = quality.examine({"train": train, "dev": examples(*good("dev"))}, FILES)
    assert finding.what == "train: each of its 60 texts holds an entity: the model never sees one without"


# --- entities and texts ---


@pytest.mark.parametrize(
    "entity",
    [" Ada", "Ada\n", "Ada,", "-Ada", "*Ada", "(Ada", 'Ada"', '"Ada', "Ada)", "\u201cAda", "Ada:"],
)
def test_a_stray_end_is_found(entity):
    (line,) = told(train=[f"so [{entity}](PER) left"])
    assert line == (
        f"1 entity with stray white space or punctuation at an end: train.jsonl:1, {entity!r} (PER)"
    )


@pytest.mark.parametrize(
    "entity", ["Inc.", "Yahoo!", "(500) Days", '"Heroes"', "U.S.", "@ada", "#one", "C++", "a(b)"]
)
def test_an_end_that_belongs_is_left(entity):
    assert told(train=[f"so [{entity}](PER) left"]) == []


def test_a_full_stop_is_stray_if_the_name_mostly_goes_without():
    usual = [f"{number} [Oslo](PER) is" for number in range(3)]
    assert any("'Oslo.' (PER)" in line for line in told([*usual, "in [Oslo.](PER)"]))
    assert any("'Oslo .' (PER)" in line for line in told([*usual, "in [Oslo .](PER)"]))
    assert told(["in [Oslo.](PER)", "at [Oslo](PER)"]) == []


def test_a_very_long_entity_is_found():
    name = " ".join(["word"] * 16)
    (line,) = told(train=[f"[{name}](PER) left", f"[{name[5:]}](PER) left"])
    assert line == (
        "1 entity of more than 15 words, hardly ever found whole: "
        "train.jsonl:1, 'word word word word word word word word…' (PER)"
    )


def test_documents_without_text_are_found():
    (line,) = told(train=[" \n"])
    assert line == "1 document without text: train.jsonl:1"


# --- all of it ---


def test_findings_come_in_the_order_of_their_weight():
    name = " ".join(["word"] * 16)
    texts = [
        *mentions("[Rome](LOC)", "Rome"),
        "[Ada](PER) is in Bonn",
        "[Ada](PER) is in Bonn",
        "[Bob,](PER) left",
        f"[{name}](PER) left",
        " ",
    ]
    found = told(train=texts, dev=["[Ada](PER) is in [Bonn](LOC)"])
    expected = [
        "dev: 1 of its",
        "1 recurring text",
        "1 name with",
        "test has none of LOC",
        "train: 1 label of 2",
        "1 entity with stray",
        "train: 1 repetition",
        "1 entity of more",
        "1 document without",
    ]
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected


def test_what_a_finding_does_not_name_is_counted():
    assert str(Finding("a", 5, ("x", "y", "z"))) == "a: x; y; z; and 2 more"
    assert str(Finding("a", 5)) == "a"


@st.composite
def any_example(draw):
    """Any text, with any spans in it that do not overlap and hold more than white space."""
    text = draw(st.text(alphabet='aA é.,-("\n\u200b\u0915', max_size=40))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = [
        (start, end, draw(st.sampled_from(["PER", "LOC"])))
        for start, end in zip(cuts[::2], cuts[1::2], strict=False)
        if text[start:end].strip()
    ]
    return Example(text, tuple(spans), None, draw(st.integers(1, 99)))


@given(train=st.lists(any_example(), max_size=30), dev=st.lists(any_example(), max_size=30))
@settings(max_examples=100, deadline=None)
def test_whatever_the_examples_are_something_can_be_said(train, dev):
    for finding in quality.examine({"train": train, "dev": dev}, FILES):
        assert len(finding.places) == min(finding.count, PLACES)
        assert "\n" not in str(finding)


def test_wnut17_as_it_is(corpora):
    parts = {part: corpus.read(corpora / f"wnut17/{part}.conll", "conll", part) for part in PARTS}
    found = {f.what: f for f in quality.examine(parts, {part: f"{part}.conll" for part in PARTS})}
    names = found["18 names with 19 mentions marked unlike nearly all others"]
    assert names.places[1] == "'The' is unmarked 206 times, corporation 1 (dev.conll:3399)"
    assert "train.conll:6554, '-Roald Dahl' (person)" in (
        found["32 entities with stray white space or punctuation at an end"].places
    )
    assert found["train: 121 repetitions among its 3,394 texts; they weigh more"].count == 121
    assert not any("found in train too" in what for what in found)


def test_texts_that_all_recur_and_names_that_all_begin_alike_take_no_longer():
    """Neither's time may grow with the square."""
    same = examples(*["[Ada](PER) left then"] * 20_000)
    titles = examples(*(f"[The x{n}](WORK) and The y{n}" for n in range(6_000)))
    began = time.process_time()
    quality.examine({"train": same, "dev": titles, "test": same}, FILES)
    assert time.process_time() - began < 6


def test_twenty_thousand_sentences_take_a_second_or_so():
    chosen = random.Random(0)
    vocabulary = [f"{chosen.getrandbits(30):x}" for __ in range(20_000)]
    names = [f"{chosen.getrandbits(30):x} {chosen.getrandbits(30):x}" for __ in range(5_000)]
    train = []
    for line in range(1, 20_001):
        before, name = " ".join(chosen.choices(vocabulary, k=18)), chosen.choice(names)
        start = len(before) + 1
        train.append(Example(f"{before} {name}", ((start, start + len(name), "PER"),), None, line))
    began = time.process_time()
    quality.examine({"train": train, "dev": train[:1]}, FILES)
    assert time.process_time() - began < 4  # far from it, unless the time grows with the square
