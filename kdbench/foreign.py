"""Code that did not come with kdbench: what it opens, starts and looks into, seen by an audit hook.

A file of its own package is its right, and its hash is noted; anything else beside code is a stray. What was opened for
whom is told by the stack: the innermost frame that is foreign code's, inside the function that watches. Python tells
its hooks of every file that Python opens. Of what C opens, only the loaders of `IN_C` are seen.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import sysconfig
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from kdbench.hashing import file_sha256
from kdbench.source import HARNESS, Home, module_file, roots

if TYPE_CHECKING:
    from kdbench.method import Method

OURS = (HARNESS, "kdbench_methods", "kdbench_leaderboard")
DATA_EVENT = "kdbench.load_dataset"  # of the harness's own loaders, which may answer from memory
STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"}
CONNECTS = {"socket.connect", "socket.getaddrinfo", "socket.sendto", "sqlite3.connect"}
LOOKS = {"gc.get_objects", "gc.get_referrers", "gc.get_referents", "sys._current_frames"}
FRAMES = {"sys._getframe", "object.__getattr__"}  # so common that only who asks himself counts
CODE = (".py", ".pyc", ".pyi", ".so", ".pyd", ".dll")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
IN_C = (  # loaders that open files without Python, by module: they tell of them themselves
    ("safetensors", "safe_open"),
    ("safetensors.torch", "safe_open"),
    ("safetensors.numpy", "safe_open"),
    ("torch", "from_file"),
    ("pyarrow.parquet", "read_table"),
)


@dataclass
class Sightings:
    """What foreign code did.

    Attributes:
        files: SHA-256 of the files of its own package that it read, by their paths in it.
        strays: what else it opened, started or looked into, in words.
    """

    files: dict[str, str] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)

    def stray(self, said: str) -> None:
        if said not in self.strays:
            self.strays.append(said)

    def add(self, other: Sightings) -> None:
        """What another watch saw, as well."""
        self.files |= other.files
        for said in other.strays:
            self.stray(said)


def is_foreign(module: str) -> bool:
    """Whether a module is none of kdbench's own."""
    return module.partition(".")[0] not in OURS


@functools.cache
def folders() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Where kdbench's own code lies, and where Python and its packages do."""
    found = [importlib.util.find_spec(name) for name in OURS]
    own = [place for spec in found if spec is not None for place in spec.submodule_search_locations or ()]
    paths = sysconfig.get_paths()
    libraries = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    libraries += [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    return tuple(map(as_folder, own)), tuple(map(as_folder, libraries))


def as_folder(path: str | Path) -> str:
    """A folder as the beginning of the paths in it."""
    return os.path.realpath(path) + os.sep


@dataclass(frozen=True)
class Package:
    """Where a foreign module and what belongs to it lie.

    Attributes:
        code: folders, ending in a separator, and files: what runs from there is its code.
        checkout: a folder whose other code is its own, too, but for packages that are installed in it; empty for none.
        data: the folder whose files are its own; `deep` if those below it are, too.
    """

    code: tuple[str, ...]
    checkout: str
    data: str
    deep: bool

    @staticmethod
    def of(module: str) -> Package | None:
        """None for a module that lies nowhere."""
        top = module.partition(".")[0]
        path, first = module_file(module), module_file(top)
        if path is None:
            return None
        home, is_package = Home.of(module), "." in module or path.name == "__init__.py"
        folder = path.resolve().parents[module.count(".") - (path.name != "__init__.py")] if is_package else path.parent
        if first is not None and first.name == "__init__.py":
            folder = first.parent
        site = folder.parent if is_package else folder
        names = [str(site.resolve() / name) for name in home.packages]
        code = [f"{name}{os.sep}" for name in names] + [f"{name}.py" for name in names]
        checkout = as_folder(home.folder) if home.folder is not None else ""
        return Package(tuple(code), checkout, as_folder(folder), is_package)

    def runs(self, filename: str) -> bool:
        """Whether code of this file is its."""
        if filename.startswith(self.code):
            return True
        beside = self.checkout and filename.startswith(self.checkout)
        return bool(beside) and not filename.startswith(folders()[1]) and "site-packages" not in filename

    def holds(self, path: str) -> bool:
        """Whether a file is its own."""
        return path.startswith(self.data) and (self.deep or os.sep not in path.removeprefix(self.data))


class Watching:
    """Sees what foreign code does within; a function that enters it is the boundary of its stacks.

    Args:
        modules: of which the foreign ones are watched; of none, nothing is.
    """

    def __init__(self, modules: Iterable[str]) -> None:
        found = [Package.of(module) for module in modules if is_foreign(module)]
        self.packages = [package for package in found if package is not None]
        self.seen = Sightings()
        self.boundary: FrameType | None = None

    def __enter__(self) -> Self:
        if self.packages:
            install()
            self.boundary = sys._getframe(1)
            ACTIVE.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self in ACTIVE:
            ACTIVE.remove(self)
        self.boundary = None

    def culprit(self, innermost: FrameType) -> FrameType | None:
        """The innermost frame of foreign code that what happens now is done for; None where it is not."""
        own, libraries = folders()
        frame: FrameType | None = innermost
        outermost, is_ours = innermost, False
        while frame is not None:
            if frame is self.boundary:
                return None
            outermost, name = frame, real(frame.f_code.co_filename)
            is_ours = is_ours or name.startswith(own)
            if not name.startswith(own):
                if any(package.runs(name) for package in self.packages):
                    return frame
                if frame.f_code.co_name == "<module>" and name.startswith(libraries):
                    return None  # a library that is being imported
            frame = frame.f_back
        # A thread of nobody's: its target is a library's function.
        return None if is_ours or threading.current_thread() is threading.main_thread() else outermost

    def note(self, event: str, arguments: tuple[Any, ...], frame: FrameType) -> None:
        """Take down an event that is raised in a frame."""
        if event in FRAMES:
            self.note_frames(event, arguments, frame)
        elif self.culprit(frame) is not None:
            if event == "open":
                self.note_file(frame, *arguments)
            elif event in STARTS:
                self.seen.stray("starts a process")
            elif event in LOOKS:
                self.seen.stray(f"looks into the harness ({event})")
            elif event == DATA_EVENT:
                self.seen.stray("loads a data set of the suites")
            else:
                self.seen.stray("opens a network connection or a database")

    def note_frames(self, event: str, arguments: tuple[Any, ...], innermost: FrameType) -> None:
        """Who reads the frames of others is foreign code itself, or `inspect` for it."""
        if event == "object.__getattr__" and "tb_frame" not in arguments[1:]:
            return
        frame: FrameType | None = innermost
        while frame is not None and Path(frame.f_code.co_filename).name == "inspect.py":
            frame = frame.f_back
        name = real(frame.f_code.co_filename) if frame is not None else ""
        asks = any(package.runs(name) for package in self.packages) and not name.startswith(folders()[0])
        if asks and self.culprit(innermost) is not None:
            self.seen.stray("looks into the harness (its frames)")

    def note_file(self, frame: FrameType, path: Any, mode: Any = None, flags: Any = 0) -> None:
        """Take down a file that foreign code opens."""
        if isinstance(path, int):  # a descriptor
            path = f"/proc/self/fd/{path}"
        name = real(os.fsdecode(path))
        writes = bool((flags or 0) & WRITES) if isinstance(flags, int) else "r" not in str(mode)
        is_code = name.endswith(CODE) and name.startswith((*folders()[1], *(as_folder(p) for p in sys.path if p)))
        if name == os.devnull or ".dist-info" + os.sep in name:
            return
        if writes:
            if not frame.f_code.co_filename.startswith("<frozen importlib"):  # compiled code
                self.seen.stray(f"writes {name}")
        elif not is_code:
            package = next((package for package in self.packages if package.holds(name)), None)
            if package is None:
                self.seen.stray(f"opens {name}")
            elif (short := name.removeprefix(package.data)) not in self.seen.files:
                self.seen.files[short] = file_sha256(Path(name))


ACTIVE: list[Watching] = []
EVENTS = {"open", DATA_EVENT} | STARTS | CONNECTS | LOOKS | FRAMES
busy = threading.local()


def hear(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook; what it does itself is not heard."""
    if ACTIVE and event in EVENTS and not getattr(busy, "now", False):
        busy.now = True
        try:
            frame = sys._getframe(1)
            for watching in ACTIVE:
                watching.note(event, arguments, frame)
        except (OSError, ValueError):  # a file that is gone, a name that is none: there was nothing to read
            pass
        finally:
            busy.now = False


@functools.cache
def add_hook() -> None:
    """An audit hook cannot be removed: one, once."""
    sys.addaudithook(hear)


def install() -> None:
    """Make sure that the hook is there, and that loaders in C tell of their files."""
    add_hook()
    for module, name in IN_C:
        loader = getattr(sys.modules.get(module), name, None)
        if loader is not None and not hasattr(loader, "__tells__"):
            setattr(sys.modules[module], name, telling(loader))


def telling(loader: Any) -> Any:
    """A loader that tells the hook of its file first."""

    @functools.wraps(loader, updated=())
    def load(source: Any, *arguments: Any, **keywords: Any) -> Any:
        if isinstance(source, str | bytes | os.PathLike):
            sys.audit("open", os.fspath(source), "r", 0)
        return loader(source, *arguments, **keywords)

    load.__tells__ = True  # type: ignore[attr-defined]
    return load


@functools.lru_cache(4096)
def real_code(path: str) -> str:
    return os.path.realpath(path)


def real(path: str) -> str:
    """A path without links; of code, as it was when it was first asked for."""
    return real_code(path) if path.endswith(".py") else os.path.realpath(path)


IMPORTED: dict[str, Sightings] = {}


def importing(module: str) -> Watching:
    """A watch over the import of a module, whose sightings `of_import` knows from then on."""
    watching = Watching([module])
    known = IMPORTED.setdefault(module, watching.seen)
    watching.seen = known
    return watching


def of_import(cls: type[Method]) -> Sightings:
    """What was seen while a method's modules were imported by its entry point, in this process."""
    found = Sightings()
    for module in roots(cls):
        found.add(IMPORTED.get(module, Sightings()))
    return found


def watching_method(cls: type[Method]) -> Watching:
    """A watch over the hooks of a method."""
    return Watching(roots(cls))


def brief(stray: str) -> str:
    """A stray for a record: of a path its last part, since the rest tells of somebody's machine."""
    verb, _, rest = stray.partition(" ")
    return f"{verb} {Path(rest).name}"[:300] if rest.startswith(os.sep) else stray[:300]
