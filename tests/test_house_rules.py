# SPDX-License-Identifier: Apache-2.0
"""The rules of CONTRIBUTING.md that a machine can hold us to."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "evenear"
SPDX = "# SPDX-License-Identifier: Apache-2.0"
MAX_LINES = 400
TEXT_SUFFIXES = {".cfg", ".css", ".html", ".js", ".json", ".jsonl", ".md", ".py", ".sh", ".toml"}
TEXT_SUFFIXES |= {".txt", ".yaml", ".yml", ""}

NO_MIRROR = {
    "__main__.py": "says `evenear.cli.main()` and nothing else",
}
"""Modules without a test file of their own, and why. Packages need none for their `__init__`."""

DOORS = {
    "kaldi_native_fbank": ("features",),
    "lhotse": ("data",),
    "sentencepiece": ("tokenizer.py",),
    "soundfile": ("audio",),
    "soxr": ("audio",),
}
"""Libraries that only one module or folder may import."""

LIGHT = ("audit", "metrics")
"""What `pip install evenear[audit]` must suffice for; the other folders need the other extras."""
ASKED_FOR_WHEN_USED = {
    "h3": "hexagons on maps; squares need nothing",
    "resemblyzer": "an encoder of voices that drags in old libraries; ours needs nothing",
}
"""Libraries in no extra: who wants them is told to install them."""
DISTRIBUTIONS = {"sklearn": "scikit-learn"}
"""Names to install by, where they are not those to import by."""

NEVER = {"k2", "torchaudio", "torchcodec", "torchvision"}
FOREIGN_TEXT = [
    # Written in pieces, so that this file passes its own test.
    re.compile(r"(?<![\w.~-])/(work|tmp|opt|root|home|mnt)" + r"/\w"),
    re.compile("(index-url|find-links|trusted-host)" + r"\s*[= ]\s*\S"),
    re.compile("file:" + "///"),
]
_SUFFIX = re.compile(r"^_?[a-z][a-z0-9_]*_([A-Z]{1,5})[0-9]?$")


@cache
def tracked() -> list[Path]:
    """Every file of the repository; without git, every file of its folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0 and listed.stdout:
        files = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        folders = ("src", "tests", "docs", "examples", "benchmarks", ".ci")
        files = [f for folder in folders for f in (ROOT / folder).rglob("*") if f.is_file()]
        files += [f for f in ROOT.iterdir() if f.is_file()]
    return [f for f in files if f.is_file() and "__pycache__" not in f.parts]


def named(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def python_files() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


def modules() -> list[Path]:
    return [path for path in python_files() if path.is_relative_to(SOURCE)]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def exported(tree: ast.Module) -> list[str] | None:
    """The names in `__all__`, or None where there is none."""
    for node in tree.body:
        target = None
        if isinstance(node, ast.AnnAssign):
            target, value = node.target, node.value
        elif isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
        if isinstance(target, ast.Name) and target.id == "__all__" and value is not None:
            return list(ast.literal_eval(value))
    return None


def public_names(tree: ast.Module) -> set[str]:
    """Names that a module defines at its top and does not mark as its own with an underscore."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and "TypeVar(" not in ast.unparse(node.value):
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def imported(tree: ast.Module) -> Iterator[str]:
    """The first part of every module imported anywhere in a file, type checking left out."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Public functions, classes and methods without a docstring."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None:
                yield node.name
            if isinstance(node, ast.ClassDef):
                yield from (f"{node.name}.{name}" for name in _undocumented_methods(node))


def _undocumented_methods(node: ast.ClassDef) -> Iterator[str]:
    for method in node.body:
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {ast.unparse(d).rpartition(".")[2] for d in method.decorator_list}
            excused = decorators & {"overload", "override", "setter"}
            if not method.name.startswith("_") and not excused and not ast.get_docstring(method):
                yield method.name


def shape_letters(tree: ast.Module) -> set[str]:
    """Letters of the shape suffixes in a file: B, T and D of `encoded_BTD`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return {letter for name in names if (found := _SUFFIX.match(name)) for letter in found[1]}


def legend(tree: ast.Module) -> str | None:
    """The paragraph of the module's docstring that names the dimensions."""
    docstring = ast.get_docstring(tree) or ""
    for paragraph in re.split(r"\n\s*\n", docstring):
        for line_start in re.finditer(r"(?:^|\n)\s*(?:Legend|Dimensions)\b[^:]*:", paragraph):
            return paragraph[line_start.end() :]
    return None


def test_files_can_be_read_in_one_sitting():
    counts = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in python_files()}
    long = [f"{path.relative_to(ROOT)}: {n}" for path, n in counts.items() if n > MAX_LINES]
    assert not long, f"Over {MAX_LINES} lines; split these: {long}"


def test_every_python_file_states_its_license_first():
    without = [
        path
        for path in python_files()
        if SPDX not in path.read_text(encoding="utf-8").splitlines()[:2]
    ]
    assert not without, f"The first line (after #!) must be {SPDX!r}: {named(without)}"


def test_every_module_says_what_it_is():
    silent = [path for path in modules() if not ast.get_docstring(parsed(path))]
    assert not silent, f"No docstring at the top: {named(silent)}"


def test_every_module_has_a_mirror_test():
    missing = []
    for path in modules():
        inside = path.relative_to(SOURCE)
        if inside.name == "__init__.py" or str(inside) in NO_MIRROR:
            continue
        if not (ROOT / "tests" / inside.with_name(f"test_{inside.name}")).exists():
            missing.append(str(inside))
    assert not missing, f"No tests/…/test_NAME.py for: {missing}"


def test_no_exception_from_the_mirror_outlives_its_module():
    gone = [name for name in NO_MIRROR if not (SOURCE / name).exists()]
    assert not gone


def test_all_is_complete_and_sorted():
    wrong = []
    for path in modules():
        names = exported(parsed(path))
        where = path.relative_to(SOURCE)
        if names is None:
            wrong.append(f"{where}: no __all__")
            continue
        # As ruff sorts it: constants, classes, functions.
        order = sorted(names, key=lambda n: (0 if n.isupper() else 1 if n[:1].isupper() else 2, n))
        if names != order:
            wrong.append(f"{where}: not sorted")
        if path.name != "__init__.py":
            missing = public_names(parsed(path)) - set(names)
            wrong += [f"{where}: {name} is public but not listed" for name in sorted(missing)]
    assert not wrong, "\n".join(wrong)


def test_every_public_object_is_documented():
    bare = [f"{p.relative_to(SOURCE)}: {n}" for p in modules() for n in undocumented(parsed(p))]
    assert not bare, "\n".join(bare)


def test_every_shape_letter_is_in_the_legend():
    unexplained = []
    for path in modules():
        letters = shape_letters(parsed(path))
        text = legend(parsed(path))
        where = path.relative_to(SOURCE)
        if letters and text is None:
            unexplained.append(f"{where}: no legend for {', '.join(sorted(letters))}")
            continue
        unexplained += [
            f"{where}: {letter}"
            for letter in sorted(letters)
            if not re.search(rf"\b{letter}\b", text or "")
        ]
    assert not unexplained, "\n".join(unexplained)


def test_there_is_no_file_of_leftovers():
    leftovers = {"common.py", "helpers.py", "misc.py", "util.py", "utils.py"}
    found = [path for path in python_files() if path.name in leftovers]
    assert not found, f"Name these for what they do: {named(found)}"


def test_no_text_knows_the_machine_it_was_written_on():
    found = []
    for path in tracked():
        if path.suffix not in TEXT_SUFFIXES:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for pattern in FOREIGN_TEXT:
            found += [f"{path.relative_to(ROOT)}: {m.group()}" for m in pattern.finditer(text)]
    assert not found, "\n".join(found)


def test_libraries_are_imported_through_their_one_door():
    through_walls = []
    for path in modules():
        inside = path.relative_to(SOURCE)
        for library in set(imported(parsed(path))):
            doors = DOORS.get(library, (inside.parts[0],))
            if inside.parts[0] not in doors:
                through_walls.append(f"{inside} imports {library}")
    assert not through_walls, f"{through_walls}; the doors are {DOORS}"


def declared(*extras: str) -> set[str]:
    """Libraries that the package and these extras of it ask for, by the names to import."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"].get(extra, [])
    names = {re.split(r"[\[<>=~! ]", line)[0].lower() for line in lines}
    back = {distribution: name for name, distribution in DISTRIBUTIONS.items()}
    return {back.get(name, name.replace("-", "_")) for name in names}


def test_every_library_that_is_imported_is_asked_for():
    light = declared("audit")
    heavy = declared("asr", "train", "mic", "media", "serve", "export", "scale", "meeting")
    missing = []
    for path in modules():
        inside = path.relative_to(SOURCE)
        is_light = inside.parts[0] in LIGHT
        asks_for_both = inside.parts[0] in ("cli", "reproduction")  # before anything else
        known = light if is_light else light | heavy if asks_for_both else heavy
        foreign = set(imported(parsed(path))) - set(sys.stdlib_module_names) - {"evenear"}
        foreign -= ASKED_FOR_WHEN_USED.keys()
        missing += [f"{inside}: {name}" for name in sorted(foreign - known)]
    assert not missing, "\n".join(missing)


def test_no_file_imports_what_we_refuse():
    found = [str(p.relative_to(ROOT)) for p in python_files() if NEVER & set(imported(parsed(p)))]
    assert not found, f"{sorted(NEVER)} are imported by {found}"


def test_importing_the_audit_is_light_and_silent():
    program = (
        "import sys, evenear, evenear.audit, evenear.metrics; "
        "heavy = {'torch', 'lhotse', 'soundfile'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or None)"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"Importing the audit loads {run.stderr}"
    assert run.stdout + run.stderr == ""


def test_importing_changes_no_global_generator():
    program = (
        "import random, numpy; random.seed(1); numpy.random.seed(1); "
        "before = random.getstate(), numpy.random.get_state()[1].tolist(); "
        "import evenear.audit, evenear.metrics; "
        "after = random.getstate(), numpy.random.get_state()[1].tolist(); "
        "assert before == after"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md" and "```python" in path.read_text()]


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_python_blocks_of_documents_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "document"}
    text = path.read_text(encoding="utf-8")
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        line = text[: block.start(1)].count("\n")
        program = compile("\n" * line + block.group(1), str(path), "exec")
        exec(program, namespace)
