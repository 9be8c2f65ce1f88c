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


def kinds_with_legal(program, kinds, *options):
    """Kinds of a program for the kmem front, each next to its legal neighbour."""
    cases = []
    for name, finding in kinds.items():
        cases += [Case(program, (name,), (finding,), fronts=("kmem",), options=options),
                  Case(program, (f"legal_{name}",), fronts=("kmem",), options=options)]
    return cases


def here(kind, name, **more):
    """A finding in the function of this name, on the line with that tag."""
    return Finding(kind, (name, name), **more)


def pools():
    taken, put = ("take", "take"), ("put", "put")
    plain = {
        "wrong_pool": here("wrong_cache", "wrong_pool", alloc_stack=taken, size=96),
        "second_put": here("double_free", "second_put", alloc_stack=taken, free_stack=put),
        "put_of_block": here("wrong_cache", "put_of_block"),
        "free_of_object": here("wrong_cache", "free_of_object", alloc_stack=taken),
        "put_of_null": here("null_free", "put_of_null"),
        "put_of_inside": here("invalid_free", "put_of_inside", alloc_stack=taken),
        "object_overflow": Finding("overflow", put, alloc_stack=taken, size=96),
        "object_underflow": Finding("underflow", put, alloc_stack=taken, size=96),
        "busy_destroy": here("invalid_free", "busy_destroy"),
        "get_after_destroy": here("use_after_free", "get_after_destroy"),
        "pool_flags": here("bad_flags", "pool_flags"),
        "none_in_interrupt": here("wrong_context", "none_in_interrupt"),
        "waitok_with_lock": here("sleep_with_lock", "waitok_with_lock"),
        "zero_pool": Finding("zero_size", ("zero_pool", "zero")),
    }
    guarded = {
        "write_after_put": here("use_after_free", "write_after_put", alloc_stack=taken,
                                free_stack=put, access="write", size=96),
        "read_after_put": here("use_after_free", "read_after_put", alloc_stack=taken,
                               free_stack=put, access="read", size=96),
        "second_put": plain["second_put"], "wrong_pool": plain["wrong_pool"],
        "busy_destroy": plain["busy_destroy"],
    }
    poisoned = {"write_after_put": Finding("modified_after_free", ("write_after_put", "get_again"),
                                           free_stack=put)}
    return (kinds_with_legal("pools", plain)
            + kinds_with_legal("pools", guarded, "--guard-depth", "512")
            + kinds_with_legal("pools", poisoned, "--set", "kmem_poison=1"))


def umem():
    made, freed = ("buffer", "buffer"), ("give", "give")
    plain = {
        "buffer_overflow": Finding("overflow", freed, alloc_stack=made, size=8192),
        "buffer_underflow": Finding("underflow", freed, alloc_stack=made, size=8192),
        "second_free": here("double_free", "second_free", alloc_stack=made, free_stack=freed),
        "free_of_memory": here("invalid_free", "free_of_memory", alloc_stack=made),
        "kmem_free_of_buffer": here("wrong_cache", "kmem_free_of_buffer", alloc_stack=made),
        "sleep_in_interrupt": here("wrong_context", "sleep_in_interrupt"),
        "umem_with_lock": here("sleep_with_lock", "umem_with_lock"),
        "umem_in_suspend": here("wrong_context", "umem_in_suspend"),
        "pageable_in_interrupt": here("wrong_context", "pageable_in_interrupt", access="write",
                                      alloc_stack=made, size=8192),
        "umem_flags": here("bad_flags", "umem_flags"),
    }
    guarded = {
        "buffer_overflow": here("overflow", "buffer_overflow", alloc_stack=made, access="write"),
        "buffer_underflow": here("underflow", "buffer_underflow", alloc_stack=made, access="write"),
        "read_after_umem_free": here("use_after_free", "read_after_umem_free", alloc_stack=made,
                                     free_stack=freed, access="read", size=8192),
    }
    return (kinds_with_legal("umem", plain)
            + kinds_with_legal("umem", guarded, "--guard-depth", "512"))


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
    "pools": pools,
    "umem": umem,
}
