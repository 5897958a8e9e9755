"""The architecture: imports follow the layers, and every file is on the floor plan."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent


def tracked() -> list[str]:
    """The files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


# Their files are of one kind, and go by the folder's name.
WHOLE_FOLDERS = {
    "deploy",
    "documents",
    "vendor",
    "migrations",
    "commands",
    "locale",
    "templates/admin",
    "static/streaming/admin",
}


def plan() -> set[str]:
    """The names on the floor plan."""
    contributing = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")
    drawing = re.search(r"## The floor plan\n.*?```text\n(.*?)```", contributing, re.DOTALL)
    assert drawing, "CONTRIBUTING.md has a floor plan"
    return set(re.findall(r"[\w.-]+\.\w+|[\w-]+(?=/)", drawing[1]))


def test_imports_go_down_the_layers() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]

    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr


def test_the_stairs_are_drawn_as_they_are_kept() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    stairs = re.search(
        r"```text\n(\d+ +asgi.*?)```", (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL
    )
    assert stairs, "CONTRIBUTING.md draws the stairs"

    drawn = re.split(r"\n(?=\d)", stairs[1])

    assert [step.split()[1:] for step in drawn] == [layer.split(" | ") for layer in contract["layers"]]


def test_every_file_is_on_the_floor_plan() -> None:
    drawn = plan()
    rooms = [path for path in tracked() if path.startswith(("ssesite/", "streaming/", "templates/"))]
    rooms = [path for path in rooms if not path.endswith("__init__.py") and (ROOT / path).exists()]

    def is_drawn(path: str) -> bool:
        name, folders = Path(path).name, {parent.name for parent in Path(path).parents}
        folders |= {each for each in WHOLE_FOLDERS if f"/{each}/" in f"/{path}"}
        return name in drawn or any(each.split("/")[-1] in drawn for each in folders & WHOLE_FOLDERS)

    assert [path for path in rooms if not is_drawn(path)] == []


def test_every_file_on_the_floor_plan_exists() -> None:
    there = {part for path in tracked() if (ROOT / path).exists() for part in Path(path).parts}

    assert plan() - there == set()


def test_only_conf_reads_the_settings_of_this_app() -> None:
    reads = re.compile(r"getattr\(settings|settings\.(?:STREAMING_\w+|REDIS_URL)\b(?! = )")
    sources = [path for path in tracked() if re.fullmatch(r"streaming/.*\.py", path) and path != "streaming/conf.py"]

    found = [f"{path}: {m[0]}" for path in sources for m in reads.finditer((ROOT / path).read_text("utf-8"))]

    assert found == []


def test_the_top_level_has_the_expected_entries() -> None:
    top = {path.split("/")[0] for path in tracked() if (ROOT / path).exists()}

    allowed = {"manage.py", "pyproject.toml", "README.md", "ssesite", "streaming", "templates", "tests", "LICENSE"}
    assert {name for name in top if not name.startswith(".")} <= allowed


def test_the_package_includes_its_license_and_those_of_bundled_code() -> None:
    about = metadata.distribution("django-streaming-llm")
    fetched = ROOT / "streaming" / "static" / "streaming" / "vendor" / "markdown-it-licenses.txt"

    assert about.metadata["License-Expression"] == "BSD-3-Clause"
    assert about.read_text("licenses/LICENSE") == (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in str(about.read_text("licenses/streaming/vendor/opencc-license.txt"))
    assert {"# markdown-it", "# linkify-it", "# entities"} <= set(fetched.read_text("utf-8").splitlines())


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    # Spelled so that this file is not one of them.
    words = [
        "py" + r"pi\.org",
        "python" + "hosted",
        r"registry\.np" + "mjs",
        r"registry\.ya" + "rnpkg",
        r"deb\.deb" + "ian",
    ]
    pattern = re.compile("|".join([*words, r"/(?:wo" + "rk|ro" + "ot|fa" + r"rm)/"]))

    found = []
    for path in tracked():
        file = ROOT / path
        if file.is_file() and file.suffix not in (".png", ".ico"):
            found += [f"{path}: {m[0]}" for m in pattern.finditer(file.read_text("utf-8", "replace"))]

    assert found == []


def test_every_link_between_documents_leads_somewhere() -> None:
    lost = []
    for path in (ROOT / name for name in tracked() if name.endswith(".md") and "documents/" not in name):
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text("utf-8"), flags=re.DOTALL)
        for target, _, heading in re.findall(r"\]\((?!\w+:)([^)#\s]*)(#([^)\s]*))?\)", prose):
            file = path.parent / target if target else path
            headings = re.findall(r"(?m)^#+ (.+)$", file.read_text("utf-8")) if heading and file.exists() else []
            if not file.exists() or (heading and heading not in map(anchor, headings)):
                lost.append((path.name, target, heading))

    assert lost == []


def anchor(heading: str) -> str:
    """How GitHub names a heading in an address."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
