"""Cards: fetched for one pair of eyes, and opened only where there is a display."""

import io
import stat

import pytest
from ansible_collections.nerforge.aws.plugins.module_utils.contract.errors import UserError
from ansible_collections.nerforge.aws.plugins.plugin_utils import cards

RECORD = {"name": "people", "version": 7}


def test_the_page_is_fetched(stack):
    key = "models/people/7/card.html"
    stack.aws.client("s3").put_object(Bucket="nerforge-bucket", Key=key, Body=io.BytesIO(b"<html>"))
    assert cards.fetch(stack.aws, "nerforge-bucket", RECORD) == b"<html>"


def test_a_version_without_a_card_is_told(stack):
    with pytest.raises(UserError, match=r"^people:7: it has no page: .*models\.yml -e model=people:7\.$"):
        cards.fetch(stack.aws, "nerforge-bucket", RECORD)


def test_the_file_and_the_folder_made_for_it_are_private(tmp_path):
    path = tmp_path / "home" / "cards" / "people-7.html"
    assert not cards.is_kept(path, b"<html>")
    cards.keep(path, b"<html>")
    assert cards.is_kept(path, b"<html>") and not cards.is_kept(path, b"<html></html>")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    cards.keep(path, b"other")
    assert path.read_bytes() == b"other" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_place_where_it_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written there"):
        cards.keep(tmp_path / "file" / "people-7.html", b"")


@pytest.mark.parametrize(
    ("environment", "platform", "opens"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "darwin", True),
    ],
)
def test_it_is_opened_where_there_is_a_display(tmp_path, monkeypatch, environment, platform, opens):
    opened = []
    monkeypatch.setattr(cards.webbrowser, "open", lambda url: opened.append(url) or True)
    assert cards.show(tmp_path / "people-7.html", environment, platform) is opens
    assert opened == [f"file://{tmp_path}/people-7.html"] * opens
