"""Transcripts: written before the next question, resumed, and refused when one byte differs."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modeldeed.errors import EvidenceError, OptionError, SuspectError
from modeldeed.suspects.answering import (
    Answered,
    Answers,
    Transcript,
    TranscriptHeader,
    ask_recorded,
    open_suspect,
)
from modeldeed.suspects.answering.batches import sample_digest
from tests.suspects.answering.models import images, tiny_model

GOLDEN = Path(__file__).parent / "golden" / "transcript-v1.jsonl"
DESCRIPTION = {"kind": "callable", "name": "é", "preparation": {"mean": None, "count": 3}}


def header(description: Any = None, **changes: Any) -> TranscriptHeader:
    described = DESCRIPTION if description is None else description
    text = json.dumps(described, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    fields = {
        "anchor": "a" * 64, "batch": 1, "batches": [0, 1], "rule": "b" * 64,
        "suspect": hashlib.sha256(text.encode()).hexdigest(), "description": described,
        "time": "2026-11-21T13:34:20Z", "version": "0.1.0",
    }  # fmt: skip
    return TranscriptHeader(**{**fields, **changes})


def answered(number: int, label: int | None = 1) -> Answered:
    return Answered(input=f"{number:064x}", label=label, probabilities=f"{number + 7:064x}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a transcript of three answers."""
    path = tmp_path / "transcript.jsonl"
    with Transcript.open_for(path, header()) as transcript:
        for number, label in enumerate([3, None, -1]):
            transcript.append(answered(number, label))
    return path


def test_the_golden_transcript_reads_as_ever() -> None:
    transcript = Transcript.read(GOLDEN)
    assert transcript.header == header()
    assert transcript.answers == [answered(0, 3), answered(1, None), answered(2, -1)]
    assert transcript.digest == json.loads(GOLDEN.read_bytes().splitlines()[-1])["digest"]


def test_the_format_is_what_it_was(path: Path) -> None:
    assert path.read_bytes() == GOLDEN.read_bytes()


def length_prefixed(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">Q", len(part)) + part for part in parts)


def test_the_chain_is_the_documented_one() -> None:
    """Recomputed from the documentation alone."""
    previous = b""
    for number, line in enumerate(GOLDEN.read_bytes().splitlines()):
        fields = json.loads(line)
        digest = fields.pop("digest")
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        parts = length_prefixed(b"modeldeed/v1/transcript-line", previous, text.encode())
        previous = hashlib.sha256(parts).digest()
        assert digest == previous.hex()
        assert number == 0 or fields["sequence"] == number - 1


def test_a_samples_digest_is_the_documented_one() -> None:
    sample = torch.tensor([[1, -2, 3]], dtype=torch.int16)
    parts = (b"modeldeed/v1/asked-sample", b"I16", b"1,3", struct.pack("<3h", 1, -2, 3))
    assert sample_digest(sample) == hashlib.sha256(length_prefixed(*parts)).hexdigest()
    assert sample_digest(sample.reshape(3, 1)) != sample_digest(sample)
    assert sample_digest(sample.long()) != sample_digest(sample)
    with pytest.raises(OptionError):
        sample_digest(sample.float())


def test_every_changed_byte_is_refused(path: Path) -> None:
    data = path.read_bytes()
    accepted = []
    for place in range(len(data)):
        others = (data[place] ^ 1, data[place] ^ 32, ord("\n"), ord("}"), 0)
        for byte in (others[place % 5], others[(place + 1) % 5]):
            if byte == data[place]:
                continue
            path.write_bytes(data[:place] + bytes([byte]) + data[place + 1 :])
            try:
                Transcript.read(path)
            except EvidenceError:
                continue
            accepted.append((place, byte))
    assert accepted == []


@given(order=st.lists(st.integers(0, 3), max_size=6))
def test_lost_doubled_and_exchanged_lines_are_refused(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    if order and order == list(range(len(order))):
        return  # a beginning is a transcript that goes on
    lines = GOLDEN.read_bytes().splitlines(keepends=True)
    path = tmp_path_factory.getbasetemp() / "exchanged.jsonl"
    path.write_bytes(b"".join(lines[number] for number in order))
    with pytest.raises(EvidenceError):
        Transcript.read(path)


def resealed(path: Path, number: int, change: Any) -> None:
    """Change the fields of a line and put the right digest to it, as a forger would."""
    lines = path.read_bytes().splitlines()
    previous = bytes.fromhex(json.loads(lines[number - 1])["digest"]) if number else b""
    fields = json.loads(lines[number])
    del fields["digest"]
    change(fields)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    parts = length_prefixed(b"modeldeed/v1/transcript-line", previous, text.encode())
    fields["digest"] = hashlib.sha256(parts).hexdigest()
    sealed = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    path.write_bytes(b"\n".join([*lines[:number], sealed.encode()]) + b"\n")


FORGED: dict[str, tuple[int, Any, str]] = {
    "another number": (3, lambda f: f.update(sequence=3), "answer 2 has the number 3"),
    "true for a number": (2, lambda f: f.update(sequence=True), "has the number True"),
    "a sample twice": (3, lambda f: f.update(input=f"{0:064x}"), "two answers to sample"),
    "a label of text": (3, lambda f: f.update(label="1"), "answer 2, label"),
    "a label true": (3, lambda f: f.update(label=True), "answer 2, label"),
    "an unknown field": (3, lambda f: f.update(more=1), "answer 2, more"),
    "a missing field": (3, lambda f: f.pop("input"), "answer 2, input"),
    "another format": (0, lambda f: f.update(format="modeldeed-transcript/v2"), "header, format"),
    "another description": (0, lambda f: f.update(description={}), "not the SHA-256"),
    "a decimal number": (3, lambda f: f.update(label=1.0), "no floats"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forgers_line_with_a_right_digest_is_read_as_strictly(path: Path, case: str) -> None:
    number, change, text = FORGED[case]
    resealed(path, number, change)
    with pytest.raises(EvidenceError, match=text):
        Transcript.read(path)


def test_the_forgers_pen_works(path: Path) -> None:
    """Without a change in it, what it writes is accepted: the tests above fail for their reason."""
    data = path.read_bytes()
    resealed(path, 3, lambda fields: None)
    assert path.read_bytes() == data
    resealed(path, 3, lambda fields: fields.update(label=4))
    assert Transcript.read(path).answers[-1].label == 4


def test_a_repeated_field_is_refused(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"label":3', b'"label":3,"label":3'))
    with pytest.raises(EvidenceError, match="same field stands twice"):
        Transcript.read(path)


# Crashes


def test_wherever_writing_stopped_it_goes_on_after_the_last_whole_line(path: Path) -> None:
    data = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
    near = {end + offset for end in ends for offset in (-2, -1, 0, 1)}
    for cut in sorted({*near, *range(ends[0], len(data), 29)} & set(range(ends[0], len(data)))):
        path.write_bytes(data[:cut])
        whole = sum(end - 1 <= cut for end in ends) - 1  # without its end, a line is whole
        torn = cut not in ends and cut + 1 not in ends
        assert len(Transcript.read(path).answers) == whole
        assert path.read_bytes() == data[:cut]  # reading changes nothing
        with Transcript.open_for(path, header()) as transcript:
            assert bool(transcript.notices) == torn
            for number, label in list(enumerate([3, None, -1]))[whole:]:
                transcript.append(answered(number, label))
        assert path.read_bytes() == data


@pytest.mark.parametrize("cut", [0, 1, 50])
def test_a_torn_header_is_no_transcript(path: Path, cut: int) -> None:
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(EvidenceError, match="no header"):
        Transcript.open_for(path, header())


def test_a_disk_that_is_full_adds_nothing(path: Path) -> None:
    with Transcript.open_for(path, header()) as transcript:

        class Full:
            def __init__(self, file: Any) -> None:
                self.file = file

            def __getattr__(self, name: str) -> Any:
                return getattr(self.file, name)

            def write(self, data: bytes) -> int:
                self.file.write(data[:20])
                raise OSError(28, "No space left on device")

        transcript._file = Full(transcript._file)
        with pytest.raises(EvidenceError, match="No space left"):
            transcript.append(answered(9))
        assert len(transcript.answers) == 3
        with pytest.raises(EvidenceError, match="not open for writing"):
            transcript.append(answered(9))
    with Transcript.open_for(path, header()) as transcript:
        assert "20 bytes" in transcript.notices[0]
        transcript.append(answered(9))
    assert len(Transcript.read(path).answers) == 4


# Resuming


@pytest.mark.parametrize(
    ("change", "field"),
    [({"anchor": "c" * 64}, "anchor"), ({"batch": 2}, "batch"), ({"batches": [1]}, "batches"),
     ({"count": 9}, "count"), ({"rule": "c" * 64}, "rule"),
     ({"description": {"kind": "other"}}, "suspect")],
)  # fmt: skip
def test_a_transcript_of_something_else_is_not_gone_on_with(
    path: Path, change: dict[str, Any], field: str
) -> None:
    data = path.read_bytes()
    with pytest.raises(EvidenceError, match=rf"something else: {field} \("):
        Transcript.open_for(path, header(**change))
    assert path.read_bytes() == data


def test_a_later_time_and_version_go_on_with_the_same(path: Path) -> None:
    later = header(time="2027-01-01T00:00:00Z", version="9.9")
    with Transcript.open_for(path, later) as transcript:
        assert transcript.header == header()
        assert len(transcript.answers) == 3


def test_a_sample_is_answered_once(path: Path) -> None:
    with (
        Transcript.open_for(path, header()) as transcript,
        pytest.raises(EvidenceError, match="already"),
    ):
        transcript.append(answered(1, 4))
    with pytest.raises(EvidenceError, match="not open for writing"):
        Transcript.read(path).append(answered(9))


def test_one_process_at_a_time(path: Path) -> None:
    with Transcript.open_for(path, header()), pytest.raises(EvidenceError, match="in use"):
        Transcript.open_for(path, header())
    Transcript.open_for(path, header()).close()


@pytest.mark.parametrize(
    "description",
    [{"x": 0.5}, {"x": "e\u0301"}, {"x": "\ud800"}, {"x": 2**60}],
)
def test_a_description_that_could_not_be_read_back_is_not_written(description: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's or ours
        header(description)


def test_folders_and_missing_files_are_no_transcripts(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="no regular file"):
        Transcript.read(tmp_path)
    with pytest.raises(EvidenceError, match="cannot be read"):
        Transcript.read(tmp_path / "gone")
    with pytest.raises(EvidenceError, match="cannot be opened"):
        Transcript.open_for(tmp_path / "gone" / "t.jsonl", header())


# Asking


class Counting:
    """A function whose calls are counted and which fails once."""

    def __init__(self, fails_at: int = -1) -> None:
        self.sizes, self.fails_at, self.model = [], fails_at, tiny_model().eval()

    def __call__(self, batch: torch.Tensor) -> Any:
        self.sizes.append(len(batch))
        if len(self.sizes) - 1 == self.fails_at:
            raise SuspectError("gone")
        with torch.no_grad():
            return self.model(batch)


def header_for(suspect: Any) -> TranscriptHeader:
    return header(suspect.description())


def test_every_group_is_on_the_disk_before_the_next_is_asked(tmp_path: Path) -> None:
    path, seen = tmp_path / "t.jsonl", []

    def watching(batch: torch.Tensor) -> Any:
        seen.append(len(Transcript.read(path).answers))
        return [None if seen[-1] == 4 else 2] * len(batch)

    suspect = open_suspect(watching, group_size=2)
    with Transcript.open_for(path, header_for(suspect)) as transcript:
        labels = ask_recorded(suspect, images(7), transcript)
    assert seen == [0, 2, 4, 6]
    assert labels == (2, 2, 2, 2, None, None, 2)


def test_an_interruption_loses_no_answer_and_asks_none_again(tmp_path: Path) -> None:
    batch, path = images(10), tmp_path / "t.jsonl"
    expected = open_suspect(tiny_model()).labels(batch)
    function = Counting(fails_at=2)
    suspect = open_suspect(function, group_size=3)
    with Transcript.open_for(path, header_for(suspect)) as transcript:
        with pytest.raises(SuspectError, match="gone"):
            ask_recorded(suspect, batch, transcript)
        assert [a.label for a in transcript.answers] == list(expected[:6])
    with Transcript.open_for(path, header_for(suspect)) as transcript:
        assert ask_recorded(suspect, batch, transcript, most=3) == expected[:9]
        assert ask_recorded(suspect, batch, transcript) == expected
        assert ask_recorded(suspect, batch, transcript) == expected
        assert all(a.probabilities for a in transcript.answers)
    assert function.sizes == [3, 3, 3, 3, 1]
    # Another run, undisturbed, leaves the same bytes.
    whole = tmp_path / "whole.jsonl"
    with Transcript.open_for(whole, header_for(suspect)) as transcript:
        ask_recorded(open_suspect(Counting(), group_size=1), batch, transcript)
    digests = [
        [(a.input, a.label) for a in Transcript.read(each).answers] for each in (path, whole)
    ]
    assert digests[0] == digests[1]


def test_other_samples_or_another_suspect_do_not_go_on(tmp_path: Path) -> None:
    batch = images(4)
    suspect = open_suspect(Counting())
    with Transcript.open_for(tmp_path / "t.jsonl", header_for(suspect)) as transcript:
        ask_recorded(suspect, batch, transcript)
        for other, text in (
            (batch.flip(0), "answer 0 is to another sample"),
            (batch[:3], "only 3 samples"),
        ):
            with pytest.raises(EvidenceError, match=text):
                ask_recorded(suspect, other, transcript)
        with pytest.raises(OptionError, match="a sample twice"):
            ask_recorded(suspect, batch[[0, 0]], transcript)
        with pytest.raises(EvidenceError, match="another suspect"):
            ask_recorded(open_suspect(lambda x: [1] * len(x)), batch, transcript)
    assert suspect.queries == 4


def test_answers_are_of_one_number() -> None:
    with pytest.raises(OptionError):
        Answers((1, 2), torch.zeros(3, 2))


def test_a_torn_line_is_gone_once_the_transcript_was_opened(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    Transcript.open_for(path, header()).close()
    assert path.read_bytes() == b"".join(data.splitlines(keepends=True)[:-1])
