"""The artifact depends on nothing but the folder's content."""

import os
import platform
import tarfile

from nerforge_trainer import package


def make(folder, names, when):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(0o600 if when % 2 else 0o664)
        os.utime(path, (when, when))
    return folder


def test_times_modes_and_order_do_not_show(tmp_path):
    names = ["meta.json", "ner/model", "vocab/strings.json"]
    one = make(tmp_path / "one", names, 1_000_000_001)
    two = make(tmp_path / "two", reversed(names), 1_500_000_000)
    for folder in (one, two):
        package.pack(folder, tmp_path / f"{folder.name}.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_the_content_stands_at_the_root_and_is_anonymous(tmp_path):
    package.pack(make(tmp_path / "one", ["meta.json", "ner/model"], 1), tmp_path / "x.tar.gz")
    with tarfile.open(tmp_path / "x.tar.gz") as archive:
        entries = [(e.name, e.mode, e.mtime, e.uid, e.gid, e.uname, e.gname) for e in archive]
    assert entries == [
        ("meta.json", 0o644, 0, 0, 0, "", ""),
        ("ner", 0o755, 0, 0, 0, "", ""),
        ("ner/model", 0o644, 0, 0, 0, "", ""),
    ]


def test_the_cpu_is_named_as_linux_names_it_or_else_as_python_does(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast CPU @ 3.0 GHz: X\n\nmodel name\t: Other\n")
    assert package.cpu(cpuinfo) == "Fast CPU @ 3.0 GHz: X"
    cpuinfo.write_text("processor\t: 0\nCPU part\t: 0xd0c\n")
    assert package.cpu(cpuinfo) == platform.processor()
    assert package.cpu(tmp_path / "none") == platform.processor()
