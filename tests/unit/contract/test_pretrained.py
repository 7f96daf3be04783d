"""What an archive must hold, and how one that does not is told."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nerforge_contract import pretrained
from nerforge_contract.errors import UserError

FILES = {
    "config.json": json.dumps({"model_type": "bert"}),
    "vocab.txt": "[PAD]\n[UNK]",
    "model.safetensors": "weights",
    "README.md": "not needed",
}
WHERE = "transformer: tiny.tar"


@pytest.fixture
def look(tmp_path):
    """Look into an archive of these files, some of FILES replaced (None: left out)."""

    def look(folder="", **changed):
        path = tmp_path / "tiny.tar"
        with tarfile.open(path, "w") as archive:
            for name, content in (FILES | changed.get("files", {})).items():
                if content is not None:
                    entry = tarfile.TarInfo(f"{folder}{name}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content.encode()))
        return pretrained.look(path, WHERE)

    return look


@pytest.mark.parametrize("folder", ["", "./", "bert-base/", "./bert-base/"])
def test_the_files_stand_at_the_root_or_in_a_folder(look, folder):
    contents = look(folder)
    assert contents.kind == "bert"
    assert contents.weights == "model.safetensors"
    assert contents.members == {name: f"{folder}{name}" for name in ("model.safetensors", "vocab.txt")}
    assert contents.tokenizer == {}


def test_a_file_at_the_root_goes_before_another_of_its_name(look):
    assert look(files={"older/vocab.txt": "[PAD]"}).members["vocab.txt"] == "vocab.txt"


def test_pytorch_s_own_format_is_taken_where_there_is_no_other(look):
    assert (
        look(files={"model.safetensors": None, "pytorch_model.bin": "weights"}).weights == "pytorch_model.bin"
    )


@pytest.mark.parametrize(
    ("files", "what", "fix"),
    [
        ({"config.json": None}, "there is no config.json in it", "tar -cf NAME.tar -C FOLDER ."),
        ({"config.json": "{"}, "config.json is not valid JSON", "Download it anew"),
        ({"config.json": "[" * 100_000}, "config.json is not valid JSON", "Download it anew"),
        ({"config.json": "[]"}, "its model_type is None", "such as roberta-base"),
        ({"config.json": '{"model_type": []}'}, "its model_type is []", "such as roberta-base"),
        ({"config.json": '{"model_type": "robreta"}'}, "its model_type is robreta", "such as a roberta"),
        ({"model.safetensors": None}, "neither model.safetensors nor pytorch_model.bin", "in one file"),
        ({"vocab.txt": None}, "there is no vocab.txt in it, the vocabulary of a bert", "beside the weights"),
        (
            {"config.json": '{"model_type": "roberta"}', "vocab.json": "{}"},
            "there is no merges.txt in it",
            "beside the weights",
        ),
    ],
)
def test_what_cannot_be_trained_is_told(look, files, what, fix):
    with pytest.raises(UserError) as told:
        look(files=files)
    assert told.value.where == WHERE
    assert what in told.value.what and fix in told.value.fix


@pytest.mark.parametrize("content", [b"", b"no tar" * 200])
def test_a_file_that_is_no_tar_is_told(tmp_path, content):
    path = tmp_path / "tiny.tar"
    path.write_bytes(content)
    with pytest.raises(UserError, match="it is no tar that can be read"):
        pretrained.look(path, WHERE)


COMPRESSIONS = {"none": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def archive(*members):
    """The bytes of a tar of these members, each a name, a type and what it links to."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, kind, link in members:
            entry = tarfile.TarInfo(name)
            content = FILES[PurePosixPath(name).name].encode() if kind == tarfile.REGTYPE else b""
            entry.type, entry.linkname, entry.size = kind, link, len(content)
            tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_a_broken_archive_is_told_whatever_it_is_compressed_by(tmp_path, compress, data):
    whole = compress(archive(*((name, tarfile.REGTYPE, "") for name in FILES)))
    path = tmp_path / "tiny.tar"
    path.write_bytes(whole)
    assert pretrained.look(path, WHERE).kind == "bert"
    at = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.sampled_from([b"", bytes([whole[at] ^ 1]) + whole[at + 1 :]]))
    path.write_bytes(whole[:at] + damage)
    try:
        pretrained.look(path, WHERE)
    except UserError as told:
        assert told.where == WHERE and told.fix and "\n" not in told.what


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE],
)
def test_what_is_no_file_counts_as_missing_also_where_it_comes_after_one(tmp_path, kind):
    path = tmp_path / "tiny.tar"
    files = [(name, tarfile.REGTYPE, "") for name in FILES]
    path.write_bytes(archive(*files, ("config.json", kind, "/etc/passwd")))
    with pytest.raises(UserError, match=r"there is no config\.json in it"):
        pretrained.look(path, WHERE)


def test_a_path_that_leads_out_of_the_archive_is_but_a_name(tmp_path):
    path = tmp_path / "tiny.tar"
    path.write_bytes(archive(*((f"../{name}", tarfile.REGTYPE, "") for name in FILES)))
    contents = pretrained.look(path, WHERE)
    # Its files are unpacked under their own names.
    assert contents.members == {name: f"../{name}" for name in ("model.safetensors", "vocab.txt")}
