"""What an archive must hold, and how one that does not is told."""

import io
import json
import tarfile

import pytest
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
        ({"config.json": "[]"}, "its model_type is None", "such as roberta-base"),
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
    with pytest.raises(UserError, match="it is no tar"):
        pretrained.look(path, WHERE)
