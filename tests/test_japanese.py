"""
The Japanese pages say what the English ones, the guide and the code say.

The commands of `docs/guide.ja.md` are typed by `tests/engine/test_guide_walk.py`, those of
`README.ja.md` by `test_docs_run.py`.  Here are the lists that must agree, and the slips that
a reader of Japanese sees at once.
"""

# ruff: noqa: RUF001 - full-width signs are what this is about.
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from litekeep.config import environment
from litekeep.host.schedule import TASKS
from litekeep.notices import VARIABLES
from tests import guide
from tests.documentation import TOP, Block, blocks_of, codes_in, commands_of, parts_of, tables_of

README = TOP / "README.ja.md"
GUIDE = TOP / "docs/guide.ja.md"
SCRIPT = TOP / "infra/scripts/backup_sqlite_to_s3.sh"
#: Of the script's, but of every program's.
NOT_OURS = {"HOME", "XDG_DATA_HOME"}
JAPANESE = "ぁ-んァ-ヶー一-龠々"

#: What is wrong in prose, wherever it stands.
SLIPS = {
    "full-width letters or digits": re.compile("[０-９Ａ-Ｚａ-ｚ]"),
    "half-width katakana": re.compile("[ｦ-ﾟ]"),
    "half-width punctuation after Japanese": re.compile(f"[{JAPANESE}][,.:;!?]"),
    "half-width brackets beside Japanese": re.compile(f"[{JAPANESE}]\\(|\\)[{JAPANESE}]"),
    "other punctuation than 、 and 。": re.compile("[，．]"),
    "no space between Japanese and Latin": re.compile(
        f"[{JAPANESE}][A-Za-z0-9`]|[A-Za-z0-9`][{JAPANESE}]"
    ),
    "a space beside full-width punctuation": re.compile(
        "[、。：（）「」] (?=\\S)| [、。：（）「」]"
    ),
    "another style than です・ます": re.compile("(?:である|だ|(?<!ま)した|する|ない|いる)。"),
    "a long vowel left out": re.compile("サーバ(?!ー)|ユーザ(?!ー)"),
    "other words than elsewhere": re.compile("リストア|フォルダ|レストア|インテグリティ"),
}


def prose_of(text: str) -> Iterator[str]:
    """Yield the paragraphs, items and cells of a page, each as one line, without links' ends."""
    text = re.sub(r"^ *```.*?^ *```$", "\n", text, flags=re.DOTALL | re.MULTILINE)
    # A space after "。**" is Markdown's: without it nothing is bold.
    text = text.replace("。** ", "。")
    text = re.sub(r"\]\([^)]*\)", "]", text).replace("**", "").replace("[", "").replace("]", "")
    for line in text.splitlines():
        for part in line.split("|"):
            if part.strip():
                yield part.strip().removeprefix("- ")


def slips_in(text: str) -> list[str]:
    # The end of a line is shown as a space, which is seen between two letters.
    broken = re.findall(f"^.*[{JAPANESE}]\n *[{JAPANESE}].*$", text, re.MULTILINE)
    return [f"a line that ends within a word: {line}" for line in broken] + [
        f"{what}: {line}"
        for line in prose_of(text)
        for what, wrong in SLIPS.items()
        if wrong.search(line)
    ]


def headings_of(page: Path) -> list[str]:
    lines = page.read_text().splitlines()
    return [line for line in lines if re.match("##? ", line)]


def texts(heading: str, language: str) -> list[str]:
    return [block.text for block in parts_of(GUIDE)[heading] if block.language == language]


def told(block: Block) -> tuple[str, str, tuple[str, ...]]:
    return block.language, block.title, block.lines


def links_of(page: Path) -> set[str]:
    return set(re.findall(r"\]\(([^)]+)\)", page.read_text()))


def table_of(heads: list[str]) -> dict[str, list[str]]:
    """Return a table of the guide's page by its first cells."""
    (table,) = (table for table in tables_of(GUIDE) if table[0] == heads)
    return {codes_in(row[0])[0]: row[1:] for row in table[1:]}


def test_the_readme_shows_the_same_commands_in_the_same_order():
    shown = [told(block) for block in blocks_of(README)]

    assert shown == [told(block) for block in blocks_of(TOP / "README.md")]


def test_the_readme_has_the_same_sections_and_leads_to_the_same_pages():
    assert len(headings_of(README)) == len(headings_of(TOP / "README.md"))
    ours, theirs = links_of(README), links_of(TOP / "README.md")
    assert ours - {"README.md", "docs/guide.ja.md"} == theirs - {"README.ja.md"}
    assert "README.md" in ours
    assert "README.ja.md" in theirs
    assert [link for link in ours | theirs if not (TOP / link.partition("#")[0]).is_file()] == []


def test_the_page_has_the_sections_of_the_guide():
    title, *sections = headings_of(GUIDE)

    assert title == "# SQLite バックアップ (S3 保存) ガイド"
    assert sections == [f"## {section}" for section in guide.SECTIONS]


def test_the_page_has_the_policy_units_and_lines_of_the_guide():
    (shown, *_) = texts("事前要件", "json")
    assert shown == guide.POLICY
    service, timer = texts("ガイドのユニットを使う", "text")
    assert (service, timer) == (guide.SERVICE, guide.TIMER)
    (crontab,) = texts("Cron による自動化", "text")
    assert crontab.splitlines()[-1] == guide.CRON_LINE
    block = next(b for b in parts_of(GUIDE)["手動実行手順"] if b.language == "console")
    *_, script = commands_of(block)
    assert script.command.endswith("./infra/scripts/backup_sqlite_to_s3.sh")
    assert list(script.output) == guide.OUTPUT.splitlines()


def test_a_restore_by_hand_removes_all_that_sqlite_would_replay():
    lines = [line for text in texts("手作業で復元する", "console") for line in text.splitlines()]
    at = {
        word: next(n for n, line in enumerate(lines) if word in line)
        for word in ("compose stop", "rm -f", "chown --ref", "chmod --ref", "sudo mv", "compose up")
    }

    removed = re.findall(r"\$DB(-\w+)", lines[at["rm -f"]])
    assert removed == ["-wal", "-shm", "-journal"]
    assert at["compose stop"] < at["chown --ref"] < at["sudo mv"] < at["compose up"]
    assert at["compose stop"] < at["rm -f"] < at["sudo mv"]


def test_what_pruning_needs_more_is_what_the_stores_page_says():
    _, more = texts("事前要件", "json")
    actions: set[str] = set()
    for statement in [*json.loads(guide.POLICY)["Statement"], *json.loads(more)["Statement"]]:
        named = statement["Action"]
        actions |= {named} if isinstance(named, str) else set(named)
    (listed,) = (
        set(codes_in(row[1]))
        for table in tables_of(TOP / "docs/stores.md")
        for row in table
        if row[0] == "`prune`"
    )

    assert actions == listed


def test_the_variables_of_the_script_are_listed_with_their_defaults():
    listed = table_of(["変数", "既定値", "説明"])
    read = set(re.findall(r"\$\{([A-Z][A-Z0-9_]+):", SCRIPT.read_text())) - NOT_OURS

    assert set(listed) == read | environment.VARIABLES
    defaults = {name: codes_in(row[0])[:1] for name, row in listed.items()}
    for name, value in guide.VARIABLES.items():
        assert defaults[name] == [value]
    assert defaults["SQLITE_VOLUME_NAME"] == [environment.VOLUME_DEFAULT]
    assert defaults["DB_FILE_NAME"] == [environment.FILE_DEFAULT]
    assert defaults["RETAIN_LOCAL_DAYS"] == [environment.DAYS_DEFAULT]
    assert defaults["S3_PREFIX"] == [environment.PREFIX_DEFAULT]


def test_the_other_variables_are_listed():
    listed = set(table_of(["変数", "説明"])) | set(table_of(["変数", "既定値", "説明"]))

    assert listed == environment.VARIABLES | VARIABLES | {
        *("LITEKEEP_CONFIG", "LITEKEEP_STATE", "LITEKEEP_HOME", "LITEKEEP_SOURCE")
    }


def test_the_files_that_are_listed_are_there():
    listed = table_of(["ファイル", "役割"])
    shipped = {str(path.relative_to(TOP)) for path in (TOP / "infra").rglob("*") if path.is_file()}

    assert {name for name in listed if not name.startswith("/")} == shipped


def test_the_tasks_of_a_schedule_are_listed():
    words = {"毎時": "hourly", "毎日": "daily", "毎週": "weekly", "通知先があれば毎時": "off"}
    listed = table_of(["処理", "間隔", "内容"])

    assert {name: words[row[0]] for name, row in listed.items()} == {
        f"litekeep-{task.name}": task.when for task in TASKS
    }


@pytest.mark.parametrize("page", [README, GUIDE], ids=lambda page: str(page.name))
def test_there_is_no_slip_of_style_or_width(page: Path):
    assert slips_in(page.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        *(
            "ＡＷＳの",
            "ﾊﾞｯｸｱｯﾌﾟ",
            "保存します,次に",
            "復元(手動)",
            "復元，保存",
            "S3に保存",
            "`a`を見る",
        ),
        *(
            "復元 。",
            "復元である。",
            "復元する。",
            "復元した。",
            "サーバに",
            "リストア",
            "- 消えない。",
            "保\n存",
        ),
    ],
)
def test_a_slip_is_noticed(line: str):
    assert slips_in(line) != []


def test_what_is_right_is_no_slip():
    assert slips_in("復元しました。`a` を S3（例：`b`）に保存します。\n\n```sh\nS3に\n```\n") == []
