"""QUESST 2014 as it is unpacked, its ground truth, and every way in which they can be broken."""

from pathlib import Path

import pytest
import quesst_tree as tree
from oracles import import_s3prl
from tiny_corpora import write_marker

from downstream import corpora
from downstream.corpora import check, quesst14
from downstream.corpora.quesst14_truth import ground_truth
from downstream.types import Example
from upstream.errors import DataError, MissingError

PARTS = {"dev": "dev", "test": "eval"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tree.plant(tmp_path / "quesst14Database")


def error_of(root: Path, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        quesst14.read(root)
    return str(caught.value)


def edit(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


# What is read


def test_english_part_is_read_in_the_order_of_the_lists(root):
    manifest = quesst14.read(root)
    assert {split: [e.id for e in examples] for split, examples in manifest.splits.items()} == {
        "documents": ["quesst14_00002", "quesst14_00003", "quesst14_00001"],
        "dev": ["quesst14_dev_0003", "quesst14_dev_0001"],
        "test": ["quesst14_eval_0001"],
    }
    assert manifest.splits["documents"][0] == Example("quesst14_00002", "Audio/quesst14_00002.wav", ())
    assert manifest.splits["dev"][1] == Example(
        "quesst14_dev_0001", "dev_queries/quesst14_dev_0001.wav", ("quesst14_00001", "quesst14_00003")
    )
    assert manifest.splits["test"][0].audio == "eval_queries/quesst14_eval_0001.wav"
    assert manifest.expected == {"documents": 2438, "dev": 138, "test": 138} and not manifest.complete
    assert manifest.notes == []
    assert corpora.read("quesst14", root.parent) == manifest


def test_files_are_those_that_s3prl_reads(root):
    load = import_s3prl("s3prl.downstream.quesst14_dtw.dataset").QUESST14Dataset
    manifest = quesst14.read(root)
    for split, part in PARTS.items():
        queries, documents = manifest.splits[split], manifest.splits["documents"]
        assert load(part, dataset_root=root).data == [manifest.path(example) for example in queries + documents]


def test_holders_are_those_that_s3prl_reads(root):
    parse = import_s3prl("s3prl.downstream.quesst14_embedding.quesst14_trainset").parse_rttm
    for split, part in PARTS.items():
        theirs = parse(tree.truth(root, part) / f"quesst14_{part}.rttm")
        assert ground_truth(root, split).holders == {query: set(documents) for query, documents in theirs.items()}


def test_ground_truth_is_that_of_all_languages(root):
    truth = ground_truth(root, "dev")
    assert truth.queries == ("quesst14_dev_0003", "quesst14_dev_0002", "quesst14_dev_0001")
    assert truth.documents == {f"quesst14_0000{number}" for number in range(1, 5)}
    assert truth.holders["quesst14_dev_0002"] == {"quesst14_00004"}
    assert ground_truth(root, "test").queries == ("quesst14_eval_0002", "quesst14_eval_0001")


def test_documents_may_be_named_without_folder_and_suffix(root):
    whole = quesst14.read(root)
    tree.write_documents(root, "dev", [name for name, _ in tree.DOCUMENTS])
    tree.write_occurrences(root, "dev", [(f"Audio/{name}.wav", query) for name, query in tree.OCCURRENCES["dev"]])
    assert quesst14.read(root) == whole


def test_what_else_lies_in_the_folders_does_no_harm(root):
    folder = tree.truth(root, "dev")
    (folder / "._quesst14_dev.rttm").write_bytes(b"\x00\x05\x16\x07\xff")
    (folder / "README").write_text("not read")
    (root / "scoring" / "groundtruth_quesst14_dev_T1").mkdir()
    assert quesst14.read(root).counts == {"documents": 3, "dev": 2, "test": 1}


def test_made_up_corpus_brings_its_own_counts(root):
    write_marker(root, "quesst14", {"documents": 3, "dev": 2, "test": 1})
    assert quesst14.read(root).complete


def test_query_that_is_nowhere_is_kept_and_told(root):
    tree.write_occurrences(root, "dev", [pair for pair in tree.OCCURRENCES["dev"] if pair[1][-1] != "3"])
    manifest = quesst14.read(root)
    assert manifest.splits["dev"][0].target == ()
    assert ground_truth(root, "dev").holders["quesst14_dev_0003"] == frozenset()
    assert manifest.notes == ["dev: 1 of 2 queries are in no document, quesst14_dev_0003 first; not scored"]


def test_check_counts_queries_and_documents_that_hold_them(root):
    (report,) = check.check(["quesst14"], root)
    lines = [line.strip() for line in report.lines()]
    assert "2 dev queries in 2 documents, 1 test queries in 1 documents" in lines
    assert "documents: 3 of 2438: 2435 missing" in lines
    assert "6 files at 8000 Hz: resampled to 16000 Hz when read" in lines


# What is absent


def test_absent_scoring_folder_is_told_with_where_it_is(root):
    (root / "scoring").rename(root / "aside")
    message = error_of(root, MissingError)
    assert "5 of 5 lists and folders of ground truth are missing" in message
    assert str(root / "scoring/language_key_utterances.lst") in message
    assert "They come in the folder `scoring` of the archive" in message


@pytest.mark.parametrize("suffix", [".rttm", ".ecf.xml", ".tlist.xml"])
def test_absent_and_doubled_file_of_the_ground_truth_are_told(root, suffix):
    folder = tree.truth(root, "eval")
    (file,) = folder.glob(f"*{suffix}")
    (folder / f"copy{suffix}").write_bytes(file.read_bytes())
    message = error_of(root, DataError)
    assert f"{folder} should have one file *{suffix}, it has 2: copy{suffix}, {file.name}." in message
    (folder / f"copy{suffix}").unlink()
    file.unlink()
    assert f"no file *{suffix} in {folder}. It comes in the folder `scoring`" in error_of(root, MissingError)


def test_absent_audio_is_counted_over_all_lists(root):
    (root / "Audio/quesst14_00003.wav").unlink()
    (root / "eval_queries/quesst14_eval_0001.wav").unlink()
    (root / "Audio/quesst14_00004.wav").unlink()  # Czech: nobody asks for it
    message = error_of(root, MissingError)
    assert "2 of 6 audio files of nnenglish are missing" in message
    assert f"{root}/Audio/quesst14_00003.wav" in message
    assert f"{root}/eval_queries/quesst14_eval_0001.wav" in message


# Lists that are broken


@pytest.mark.parametrize(("line", "count"), [("a/Audio/b.wav", 1), ("a/Audio/b c.wav nnenglish", 3), ("", 0)])
def test_line_of_a_list_has_two_fields(root, line, count):
    path = root / "scoring/language_key_dev.lst"
    path.write_text(f"{path.read_text()}{line}\n")
    assert f"{path}, line 4: {count} fields instead of a path and a language." in error_of(root, DataError)


def test_list_without_english_tells_its_languages(root):
    path = edit(root / "scoring/language_key_eval.lst", "nnenglish", "albanian")
    message = error_of(root, DataError)
    assert f"{path} lists no recording of nnenglish. Its languages: albanian, czech." in message
    path.write_text("")
    assert "Its languages: none." in error_of(root, DataError)


@pytest.mark.parametrize("repeated", ["Audio/quesst14_00003.wav", "dev_queries/quesst14_00003.wav"])
def test_recording_is_listed_once(root, repeated):
    path, first = root / "scoring/language_key_dev.lst", root / "scoring/language_key_utterances.lst"
    path.write_text(f"{path.read_text()}x/{repeated} nnenglish\n")
    expected = f"{path}, line 4: 'quesst14_00003' was already listed in {first}, line 3."
    assert expected in error_of(root, DataError)


@pytest.mark.parametrize("entry", ["x/../../secret.wav", "x//etc/secret.wav", "x/Audio/../../secret.wav"])
def test_path_out_of_the_corpus_is_refused(root, entry):
    path = root / "scoring/language_key_dev.lst"
    path.write_text(f"{entry} nnenglish\n")
    assert f"{path}, line 1: '{entry}' leads out of the corpus." in error_of(root, DataError)


@pytest.mark.parametrize(
    "name", ["language_key_utterances.lst", "groundtruth_quesst14_dev/quesst14_dev.rttm"], ids=["list", "rttm"]
)
def test_text_that_is_not_utf8_is_told(root, name):
    (root / "scoring" / name).write_bytes(b"LEXEME \xff\xfe nnenglish\n")
    assert f"{root / 'scoring' / name} is not UTF-8 text" in error_of(root, DataError)


# Ground truth that is broken


def test_occurrences_in_unknown_documents_are_refused(root):
    strange = [(f"quesst14_9000{number}", "quesst14_dev_0001") for number in range(4)]
    path = tree.write_occurrences(root, "dev", strange)
    message = error_of(root, DataError)
    assert f"4 documents of {path} are not in {tree.truth(root, 'dev') / 'quesst14.ecf.xml'}" in message
    assert "quesst14_90000, quesst14_90001, quesst14_90002, ..." in message and "quesst14_90003" not in message


def test_occurrences_of_unknown_queries_are_refused(root):
    path = tree.write_occurrences(root, "eval", [("quesst14_00001", "quesst14_dev_0001")])
    message = error_of(root, DataError)
    assert f"1 queries of {path} are not in " in message and "tlist.xml: quesst14_dev_0001. It comes" in message


def test_query_that_is_searched_has_to_be_in_the_term_list(root):
    tree.write_terms(root, "dev", ["quesst14_dev_0001", "quesst14_dev_0002"])
    tree.write_occurrences(root, "dev", [("quesst14_00001", "quesst14_dev_0001")])
    expected = f"1 nnenglish queries are not in the term list of {tree.truth(root, 'dev')}: quesst14_dev_0003."
    assert expected in error_of(root, DataError)


def test_document_that_is_searched_has_to_be_in_the_ecf(root):
    tree.write_documents(root, "eval", ["quesst14_00002", "quesst14_00004", "quesst14_00001"])
    expected = f"1 nnenglish documents are not in the ECF of {tree.truth(root, 'eval')}: quesst14_00003."
    assert expected in error_of(root, DataError)


def test_query_is_in_the_term_list_once(root):
    names = [name for name, _ in tree.QUERIES["eval"]]
    path = tree.write_terms(root, "eval", [*names, names[1]])
    assert f"1 queries are listed more than once in {path}: quesst14_eval_0001." in error_of(root, DataError)


def test_short_line_of_an_occurrence_is_refused_and_other_lines_are_not_looked_at(root):
    path = tree.truth(root, "dev") / "quesst14_dev.rttm"
    path.write_text(f"{path.read_text()}SPKR-INFO\nLEXEME quesst14_00001 1 0.00 3.20\n")
    assert f"{path}, line 14: 5 fields, where the document is the 2nd and the query the 6th" in error_of(
        root, DataError
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</ecf>", "", "is not XML as it should be: no element found"),
        ("UTF-8", "no-such", "is not XML as it should be: "),
        ("<ecf", '<!DOCTYPE ecf [<!ENTITY a "b">]><ecf', "is not XML as it should be: it has a DOCTYPE"),
        ("<ecf", '<!DOCTYPE ecf SYSTEM "file:///etc/hosts"><ecf', "it has a DOCTYPE"),
        ("ecf", "kwslist", "should be a list <ecf>, it is <kwslist>"),
        ("excerpt", "entry", "has no <excerpt>"),
        ("audio_filename", "file", "has a <excerpt> without audio_filename"),
    ],
)
def test_broken_list_of_documents_is_told(root, old, new, message):
    path = edit(tree.truth(root, "dev") / "quesst14.ecf.xml", old, new)
    told = error_of(root, DataError)
    assert f"{path} " in told and message in told and "unpack that folder again" in told


def test_broken_term_list_is_told(root):
    path = edit(tree.truth(root, "eval") / "quesst14_eval.tlist.xml", "termid", "kwid")
    assert f"{path} has a <term> without termid" in error_of(root, DataError)
