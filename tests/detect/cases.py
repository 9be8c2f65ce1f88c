# SPDX-License-Identifier: BSD-2-Clause
"""The planted bugs of tests/detect and the finding that each must give: a table, no logic.

A place is (function, tag): the function and the line that carries the tag in the program's source.
An address is the name of a member of what the program prints, plus an offset; "+size" adds the
block's size.
"""

from dataclasses import dataclass, field

OVERFLOW_SIZES = (1, 7, 8, 13, 24, 100, 1000, 4088, 5000, 70000)
ALLOC = ("make_block", "alloc")
FREE = ("give_back", "free")
BOTH = ("malloc", "kmem")


@dataclass
class Finding:
    """What a report must say. None: not looked at; a list of kinds: any of them."""

    kind: str
    stack: tuple
    alloc_stack: tuple = None
    free_stack: tuple = None
    address: tuple = None  # (member, offset), offset an int or "+size"
    size: object = None  # a number, or "size": the block's
    access: str = None


@dataclass
class Case:
    """One program run and the findings it must have, in order; none: it is a legal neighbour."""

    program: str
    arguments: tuple
    findings: tuple = ()
    fronts: tuple = BOTH
    options: tuple = ()
    name: str = field(init=False)

    def __post_init__(self):
        self.name = " ".join([self.program, *self.arguments, *self.options])


def with_legal(program, arguments, bug, legal, *findings, **more):
    """The case with the bug, and its legal neighbour."""
    return [Case(program, (*arguments, bug), findings, **more),
            Case(program, (*arguments, legal), **more)]


def overflow():
    cases = []
    for size in OVERFLOW_SIZES:
        cases += with_legal("overflow", (str(size),), "bug", "legal", Finding(
            "overflow", FREE, alloc_stack=ALLOC, address=("block", "+size"), size=size))
    return cases


def overflow_guard():
    """Under guard the write itself is caught where the block ends at its page, else at free."""
    cases = []
    guard = ("--guard-depth", "512")
    write = ("write_byte", "write")
    for size in OVERFLOW_SIZES:
        for front, unit in (("malloc", 16), ("kmem", 8)):
            at_once = size % unit == 0
            cases += with_legal("overflow", (str(size),), "bug", "legal", Finding(
                "overflow", write if at_once else FREE, alloc_stack=ALLOC,
                address=("block", "+size"), size=size, access="write" if at_once else None),
                fronts=(front,), options=guard)
    return cases


def underflow():
    cases = []
    for size in (1, 8, 24, 100, 1000, 5000):
        finding = Finding("underflow", FREE, alloc_stack=ALLOC, size=size)
        cases += with_legal("underflow", (str(size),), "bug", "legal", finding)
        cases.append(Case("underflow", (str(size), "zero"), (finding,), fronts=("malloc",)))
    return cases


def bad_frees():
    cases = []
    for size in (8, 100, 5000, 70000):
        cases += with_legal("double_free", (str(size),), "bug", "legal", Finding(
            "double_free", ("give_back_again", "again"), alloc_stack=ALLOC, free_stack=FREE,
            address=("block", 0)))
    for what in ("stack", "data", "wild"):
        cases.append(Case("bad_free", ("100", what), (Finding(
            "invalid_free", FREE, address=("bad", 0)),)))
    for size in ("100", "5000", "70000"):
        cases.append(Case("bad_free", (size, "interior"), (Finding(
            "invalid_free", FREE, alloc_stack=ALLOC, address=("bad", 0)),)))
    cases.append(Case("bad_free", ("100", "legal")))
    return cases


def use_after_free():
    """At once and 20,000 frees later, both within the depth."""
    cases = []
    deep = ("--guard-depth", "30000")
    for size in ("24", "100", "5000"):
        for mode in ("read", "write"):
            for frees in ("0", "20000"):
                cases.append(Case("use_after_free", (size, mode, "64", frees), (Finding(
                    "use_after_free", (f"{mode}_stale", mode), alloc_stack=ALLOC, free_stack=FREE,
                    address=("block", 0), size=int(size), access=mode),), options=deep))
    cases.append(Case("use_after_free", ("100", "legal", "64", "20000"), options=deep))
    return cases


def backends():
    """Each back end of the guard catches the same."""
    cases = []
    for backend in ("1", "2", "3"):
        options = ("--guard-depth", "30000", "--set", f"kmem_guard_backend={backend}")
        for frees in ("0", "20000"):
            cases.append(Case("use_after_free", ("100", "read", "64", frees), (Finding(
                "use_after_free", ("read_stale", "read"), alloc_stack=ALLOC, free_stack=FREE,
                address=("block", 0), size=100, access="read"),), options=options))
        cases += with_legal("overflow", ("64",), "bug", "legal", Finding(
            "overflow", ("write_byte", "write"), alloc_stack=ALLOC, address=("block", "+size"),
            size=64, access="write"), options=options)
    return cases


def misuse():
    kinds = {
        "zero_size": "zero_size", "null_free": "null_free", "bad_flags": "bad_flags",
        "both_flags": "bad_flags", "size_mismatch": "size_mismatch",
        "other_class": ["size_mismatch", "wrong_cache"], "wrong_context": "wrong_context",
        "hardint_free": "wrong_context", "intr_sleep": "wrong_context",
        "sleep_with_lock": "sleep_with_lock", "shortened_string": "size_mismatch",
        "strndup_zero": "zero_size",
    }
    cases = []
    for name, kind in kinds.items():
        cases.append(Case("misuse", (name,), (Finding(kind, (name, name)),), fronts=("kmem",)))
        cases.append(Case("misuse", (f"legal_{name}",), fronts=("kmem",)))
    return cases


def write_after_free():
    cases = []
    for size in ("24", "100", "1000"):
        cases += with_legal("write_after_free", (size,), "bug", "legal", Finding(
            "modified_after_free", ALLOC_AGAIN, free_stack=FREE),
            options=("--set", "kmem_poison=1"))
    return cases


# The reuse that finds it: main itself allocates.
ALLOC_AGAIN = ("main", "again")

def blind():
    """Not caught, and documented so."""
    guard = ("--guard-depth", "512")
    cases = [Case("blind", (kind,)) for kind in
             ("read_overflow", "overflow_beyond_redzone", "read_after_free")]
    # The header of kmem(9) is the size, whose last byte is 0 already.
    cases.append(Case("underflow", ("100", "zero"), fronts=("kmem",)))
    return cases + [Case("blind", (kind,), options=guard) for kind in
                    ("read_padding", "system_call")]


GROUPS = {
    "overflow": overflow,
    "overflow_guard": overflow_guard,
    "underflow": underflow,
    "bad_frees": bad_frees,
    "use_after_free": use_after_free,
    "backends": backends,
    "misuse": misuse,
    "write_after_free": write_after_free,
    "blind": blind,
}
