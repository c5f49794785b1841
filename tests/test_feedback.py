"""`jielong feedback`: figures of a store, judgements taken along in four forms, brought back, trained on and deleted."""

from __future__ import annotations

import io
import json
import os
import stat

import pytest

from jielong.cli.main import main
from jielong.data.chat_files import judgement_kinds_in, read_preferences, read_ratings
from jielong.data.judged import digest_of
from jielong.data.judged_files import export_judgements, read_judgements
from jielong.errors import DataError
from jielong.evaluate.feedback import disagreements, duels_of, feedback_of
from jielong.evaluate.votes import comparisons, votes_of
from jielong.learning.judged import sort_judgements
from jielong.model import hf
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.records import (
    AnswerSource,
    Demonstration,
    Message,
    Preference,
    Ranking,
    Rating,
    Vote,
    judgement_to,
)
from jielong.serve.store import open_store
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer


def said(role, text):
    return (Message(role, text),)


def pair(number, better="a", worse="b", *, by="ann", at=0.0, label=1.0, shown_first=1, models=("new", "old")):
    vote = Vote(at=at, shown_first=shown_first, answers=tuple(AnswerSource(model=m, digest=f"d-{m}") for m in models))
    answers = (said("assistant", better), said("assistant", worse))
    return Preference(said("user", f"q{number}"), *answers, label=label, by=by, vote=vote)


def rating(number, score, *, by="ann"):
    return Rating(said("user", f"q{number}"), said("assistant", f"a{number}"), score, by, vote=Vote(at=number + 1.0))


ONE_OF_EACH = [
    pair(1, at=5.0),
    pair(2, at=6.0, label=0.5),
    rating(3, 1.0),
    rating(4, 0.5, by="bo"),
    rating(5, 0.25),
    Ranking(said("user", "q6"), tuple(said("assistant", t) for t in "xyz"), (1, 0, 1), "bo", Vote(at=9.0)),
    Demonstration(said("user", "q7"), said("assistant", "well"), said("assistant", "ill"), vote=Vote(at=10.0)),
]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The path of a store with a judgement of each kind, which is the usual one."""
    monkeypatch.setenv("JIELONG_HOME", str(tmp_path))
    with open_store(tmp_path / "conversations.db") as store:
        store.judgements.add_nouns(ONE_OF_EACH)
    return tmp_path / "conversations.db"


def lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def held(path):
    with open_store(path) as store:
        return sorted(map(digest_of, store.judgements.nouns()))


# Figures -----------------------------------------------------------------------------------------------------------


def test_figures_stand_in_80_columns_and_as_json(store, capsys):
    assert main(["feedback", "stats"]) == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines()[:-1])) <= 80
    assert "7 judgements: 3 marks, 2 comparisons, 1 ranking, 1 written answer" in told
    assert "The left answer won 100.0%" in told and "(no name)" in told
    assert main(["feedback", "stats", "--json", "--store", str(store)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kinds"] == {"preference": 2, "rating": 3, "ranking": 1, "demonstration": 1}
    assert found["voters"]["bo"] == {"rating": 1, "ranking": 1}
    (group,) = found["groups"]
    # a win and a tie: 1.5 of 2, so log(1.5 / 0.5) = 1.0986
    strong = next(m for m in group["models"] if m["name"] != group["reference"])
    assert abs(strong["strength"]["mean"]) == pytest.approx(1.0986, abs=1e-3)
    assert found["without_model"] == 3


def test_an_unbeaten_model_is_told_with_no_bound(tmp_path, capsys):
    with open_store(tmp_path / "s.db") as store:
        store.judgements.add_nouns([pair(n) for n in range(5)])
    assert main(["feedback", "stats", "--store", str(tmp_path / "s.db")]) == 0
    assert "no bound" in capsys.readouterr().out
    assert main(["feedback", "stats", "--store", str(tmp_path / "s.db"), "--json"]) == 0
    assert '"mean": null' in capsys.readouterr().out


def test_a_voter_s_repeated_vote_counts_once_and_opposite_ones_are_contradictions():
    votes = [
        pair(1, at=1.0),
        pair(1, "b", "a", at=2.0, models=("old", "new")),  # she changed her mind
        pair(1, by="bo"),
        pair(2),
        pair(2),
        pair(3, label=0.5),
        pair(3),
    ]
    found = votes_of(comparisons(votes))
    assert (found.num_repeated, found.num_turned, found.num_contradicted) == (3, 1, 1)
    assert (disagreements(found.newest), len(found.newest)) == (1, 4)
    assert sum(c.won if c.sources[0].model == "new" else 1 - c.won for c in found.newest if c.by == "ann") == 2


def test_figures_and_learning_count_the_same_votes():
    votes = [
        pair(1, at=1.0),
        pair(1, label=0.5, at=2.0),
        pair(1, "b ", "a", at=3.0),  # the same texts: blanks around an answer are no other answer
        pair(1, at=4.0),
        pair(2, by="bo", at=5.0),
        pair(2, by="bo", at=6.0),
    ]
    figures, judged = feedback_of(votes), sort_judgements(votes)
    assert figures.repeated == judged.num_repeated == 4
    assert (figures.contradictions, judged.num_contradicted) == (1, 2), "one pair, which was turned twice"
    assert figures.contradictions == votes_of(comparisons(votes)).num_contradicted


def test_the_pairs_of_a_ranking_weigh_as_much_as_its_answers_less_one():
    sources = tuple(AnswerSource(model=m) for m in "klm")
    ranking = Ranking(
        said("user", "q"), tuple(said("assistant", t) for t in "xyz"), (2, 0, 1), vote=Vote(answers=sources)
    )
    duels = duels_of(comparisons([ranking]))
    assert sum(d.weight for d in duels) == pytest.approx(2)
    assert {(d.first, d.second) if d.won else (d.second, d.first) for d in duels} == {
        ("l", "k"),
        ("l", "m"),
        ("m", "k"),
    }


def test_one_name_for_two_models_is_told_apart_by_their_digests():
    votes = [pair(n, models=("m", "m")) for n in range(2)]
    assert feedback_of(votes).within_model == 2  # one digest, which is d-m
    retrained = Vote(answers=(AnswerSource(model="m", digest="1" * 20), AnswerSource(model="m", digest="2" * 20)))
    other = Preference(said("user", "q"), said("assistant", "a"), said("assistant", "b"), vote=retrained)
    assert {d.first for d in duels_of(comparisons([other]))} <= {"m@11111111", "m@22222222"}


def test_the_share_of_the_first_shown_has_an_interval_and_leaves_out_ties():
    found = feedback_of(
        [*(pair(n, shown_first=n % 4 > 0) for n in range(40)), pair(50, label=0.5), pair(51, shown_first=-1)]
    )
    assert found.num_shown == 40 and found.first_shown is not None
    assert found.first_shown.mean == 0.75 and 0.59 < found.first_shown.low < 0.61 < 0.85 < found.first_shown.high < 0.87


# Export and import -------------------------------------------------------------------------------------------------


def test_our_own_form_comes_back_whole_and_a_second_import_adds_nothing(store, tmp_path, capsys):
    file, other = tmp_path / "all.jsonl", tmp_path / "other.db"
    assert main(["feedback", "export", str(file)]) == 0
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert main(["feedback", "import", str(file), "--store", str(other)]) == 0
    assert "Added:  7" in capsys.readouterr().out and held(other) == held(store)
    assert main(["feedback", "import", str(file), "--store", str(other)]) == 0
    told = capsys.readouterr().out
    assert "known already: 7" in told and "Added:  0" in told and len(held(other)) == 7


@pytest.mark.parametrize(
    ("form", "count", "left_out"),
    [
        ("trl", 1 + 2, ["1, a tie", "3, a mark, which makes no pair", "1, a written answer"]),
        ("kto", 2, ["1, a mark in the middle", "2, a comparison", "1, an order"]),
        ("sft", 1, ["2, a preference", "3, a rating", "1, a ranking"]),
    ],
)
def test_forms_of_others_hold_what_they_can_and_the_rest_is_counted(store, tmp_path, capsys, form, count, left_out):
    file = tmp_path / "out.jsonl"
    assert main(["feedback", "export", str(file), "--form", form]) == 0
    told = capsys.readouterr().out
    assert len(lines(file)) == count and all(f"left out: {why}" in told for why in left_out)


def test_each_form_is_as_its_readers_have_it():
    (trl,) = map(json.loads, export_judgements([pair(1)], "trl").text.splitlines())
    assert trl == {
        "prompt": [{"role": "user", "content": "q1"}],
        "chosen": [{"role": "assistant", "content": "a"}],
        "rejected": [{"role": "assistant", "content": "b"}],
    }
    (kto,) = map(json.loads, export_judgements([rating(3, 0.25)], "kto").text.splitlines())
    assert (kto["completion"], kto["label"]) == ([{"role": "assistant", "content": "a3"}], False)
    (sft,) = map(json.loads, export_judgements([ONE_OF_EACH[-1]], "sft").text.splitlines())
    assert [m["content"] for m in sft["messages"]] == ["q7", "well"]


def test_only_the_judgements_of_one_voter_are_exported(store, tmp_path, capsys):
    file = tmp_path / "bo.jsonl"
    assert main(["feedback", "export", str(file), "--by", "bo"]) == 0
    assert {line["by"] for line in lines(file)} == {"bo"} and len(lines(file)) == 2
    assert main(["feedback", "export", str(tmp_path / "none.jsonl"), "--by", "cy"]) == 2
    assert "no judgement by 'cy'" in capsys.readouterr().err and not (tmp_path / "none.jsonl").exists()


def test_pairs_and_marks_of_others_are_brought_and_what_cannot_be_kept_is_counted(tmp_path, capsys):
    file, store = tmp_path / "trl.jsonl", tmp_path / "s.db"
    records = [
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": "q", "chosen": "a", "rejected": "a"},
        {"prompt": "q", "completion": "a", "label": True},
        {
            "prompt": [{"role": "user", "content": "q"}, {"role": "tool", "content": "t"}],
            "chosen": "a",
            "rejected": "b",
        },
    ]
    file.write_text("".join(json.dumps(r) + "\n" for r in records))
    assert main(["feedback", "import", str(file), "--store", str(store)]) == 0
    told = capsys.readouterr().out
    assert "Added:  2" in told and "both answers are the same (line 2)" in told and "has a turn of tool" in told
    assert main(["feedback", "import", str(file), "--store", str(store)]) == 0
    assert len(held(store)) == 2


def test_a_file_that_is_wrong_adds_nothing_and_says_where(tmp_path, capsys):
    file, store = tmp_path / "f.jsonl", tmp_path / "s.db"
    good = json.dumps(judgement_to(pair(1)))
    bad = json.dumps({**judgement_to(rating(2, 1.0)), "score": "high"})
    file.write_text(f"{good}\n{bad}\n" + '{"kind": "thumb"}\n{"text": "x"}\n')
    assert main(["feedback", "import", str(file), "--store", str(store)]) == 2
    said = capsys.readouterr().err
    assert "f.jsonl:2" in said and "f.jsonl:3: 'kind' is 'thumb'" in said and "f.jsonl:4: the fields are text" in said
    assert not store.exists()


def test_ties_and_orders_have_one_digest_however_they_are_turned():
    assert digest_of(pair(1, label=0.5)) == digest_of(pair(1, "b", "a", label=0.5)) != digest_of(pair(1))
    assert digest_of(pair(1, label=0.0)) == digest_of(pair(1, "b", "a"))
    assert digest_of(pair(1, by="bo")) != digest_of(pair(1)) == digest_of(pair(1, at=99.0))


# Files for trainers ------------------------------------------------------------------------------------------------


def test_trainers_read_pairs_and_marks_out_of_our_own_form(store, tmp_path):
    file = tmp_path / "all.jsonl"
    assert main(["feedback", "export", str(file)]) == 0
    assert judgement_kinds_in(file) == {"pairs", "ratings"}
    found = read_preferences(file)
    # two pairs, one of them a tie, and three of a ranking, one of them a tie
    assert [p.label for p in found.records] == [1.0, 0.5, 1.0, 0.5, 1.0]
    assert [(p.chosen[0].text, p.rejected[0].text) for p in found.records[2:]] == [("y", "x"), ("x", "z"), ("y", "z")]
    told = "\n".join(found.tally.sentences())
    assert "3 of 7 records are used" in told and "a mark, which makes no pair" in told
    assert [r.score for r in read_ratings(file).records] == [1.0, 0.25]


def test_a_file_of_written_answers_alone_holds_nothing_to_compare(tmp_path):
    file = tmp_path / "written.jsonl"
    file.write_text(export_judgements(ONE_OF_EACH[-1:], "own").text)
    assert judgement_kinds_in(file) == frozenset()
    with pytest.raises(DataError, match="a written answer, which is for instruction tuning"):
        read_preferences(file)
    assert len(read_judgements(file).judgements) == 1


ANIMALS = "cat dog hen cow fox owl bee ant pig rat".split()


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    """A tiny model, and a store in which the answers that name the food are the better ones."""
    folder = tmp_path_factory.mktemp("farm")
    nouns = []
    for number in range(40):
        asked = said("user", f"What does the {ANIMALS[number % 10]} of farm {number} eat?")
        good, bad = said("assistant", f"{ANIMALS[number % 10]} food"), said("assistant", "I do not know, ask others")
        nouns += [Preference(asked, good, bad), Rating(asked, good, 1.0), Rating(asked, bad, 0.25)]
    tokenizer = train_tokenizer(
        [m.text for noun in nouns for m in noun.prompt] + ANIMALS, TokenizerConfig(vocab_size=400)
    )
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=128,
    )  # fmt: skip
    (folder / "model").mkdir()
    hf.save(fresh_language_model(shape, 1), folder / "model", eos_token_id=tokenizer.im_end, pad_token_id=tokenizer.pad)
    tokenizer.save(folder / "model")
    with open_store(folder / "talks.db") as store:
        store.judgements.add_nouns(nouns)
    return folder


@pytest.mark.parametrize(("form", "method"), [("trl", "dpo"), ("kto", "kto"), ("own", "dpo"), ("own", "kto")])
def test_what_is_exported_trains_a_model_without_a_hand_in_between(farm, tmp_path, form, method):
    file, runs = tmp_path / "judged.jsonl", tmp_path / "runs"
    assert main(["feedback", "export", str(file), "--form", form, "--store", str(farm / "talks.db")]) == 0
    short = ("--rank", "4", "--set", "compare.max_tokens=4", "--steps", "3", "--runs", str(runs))
    assert main(["adapt", str(farm / "model"), "--preferences", str(file), "--method", method, *short]) == 0
    (run,) = runs.iterdir()
    rendered = 80 if method == "kto" else 40
    kind = "ratings" if method == "kto" else "preferences"
    assert len(lines(run / kind / f"{kind}.jsonl")) + len(lines(run / kind / "held_out.jsonl")) == rendered


# Deleting ----------------------------------------------------------------------------------------------------------


def test_judgements_are_deleted_by_voter_by_day_by_id_or_all(store, tmp_path, capsys):
    assert main(["feedback", "delete", "--by", "bo", "--yes"]) == 0
    assert "Deleted: 2" in capsys.readouterr().out
    with open_store(store) as opened:
        last = opened.judgements.all()[-1]
    assert main(["feedback", "delete", "--id", last.id, "--yes"]) == 0
    assert main(["feedback", "delete", "--before", "1970-01-01T00:00:05.5+00:00", "--yes"]) == 0
    assert "Deleted: 2" in capsys.readouterr().out and len(held(store)) == 2
    assert main(["feedback", "delete", "--all", "--yes"]) == 0
    assert held(store) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "say which judgements: --all"),
        (["--all"], "add --yes"),
        (["--before", "yesterday"], "expected a day such as 2026-01-31"),
        (["--id", "nobody", "--yes"], "no judgement is called 'nobody'"),
        (["--by", "cy", "--yes"], "the store holds no such judgement"),
    ],
)
def test_a_deletion_that_is_not_clear_deletes_nothing(store, capsys, monkeypatch, words, why):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["feedback", "delete", *words]) == 2
    assert why in capsys.readouterr().err and len(held(store)) == 7


def test_without_a_store_there_is_nothing_to_tell(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JIELONG_HOME", str(tmp_path))
    assert main(["feedback", "stats"]) == 2
    assert "there is no store" in capsys.readouterr().err and list(tmp_path.iterdir()) == []
