#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Makes a kernel image with NetBSD's pool structures, and the RAM of a machine that has booted it.

    netbsd_image.py FOLDER [--bits 32|64] [--seed N] [--no-build-id]

writes into FOLDER (made if need be; needs gcc with -m32 and binutils, no emulator):

    netbsd          the kernel with its symbols, without DWARF     qemu-system-x86_64 -kernel netbsd
    netbsd.debug    its separate debug file                        (32 bits: qemu-system-i386 does, too)
    netbsd.gdb      the kernel with DWARF: either may be booted
    netbsd.ram      32 MiB of guest RAM in which it runs           kmemscope attach ram:netbsd.ram
    expected.json   what is to be seen: every figure of every pool

or `image(folder, bits=64, seed=1)` from a test, which returns what is in expected.json.

Structures and members have the names of kmem-facts 5; members are shuffled and padded by the seed, and odd
seeds have the members of NetBSD up to 9, even ones those of 10 (32 bits: with PAE). So a number that was not
looked up in the DWARF is wrong in most of them. No line of NetBSD is in it.

Booted in QEMU (64 bits: PVH; 32 bits: multiboot, so a write to RAM before the machine runs is lost, as with
the real one) it says on its serial line, after the version:

    kmem_init
    kmem_guard(ADDRESS): depth N       only if kmem_guard_depth was not 0 in kmem_init()
    ready

kmem_init() reads the int kmem_guard_depth once and rounds it up to a page of slots (512, or 1024 on 32 bits)
into kmem_guard.kg_depth; kmem_guard_size is 0 if the guard is off. Up to NetBSD 9 (odd seeds) the rounded depth
is written back. From "ready" on a clock of 50 Hz moves the figures of the pool "ticker": 3 gets and 2 puts.
"""

import argparse
import json
import pathlib
import random
import subprocess

HERE = pathlib.Path(__file__).resolve().parent / "netbsd"
PAGE = 4096
RAM_BYTES = 32 << 20
UNLIMITED = 0xffffffff
NOTOUCH, PHINPAGE, LARGECACHE, RECURSIVE, USEBMAP = 0x400, 0x40, 0x1000, 0x200, 0x10000
MAX_CPUS = 16

# Members: (type, name, what follows the name). Those of one generation only are added below.
LINK = "struct { struct %s *tqe_next; struct %s **tqe_prev; }"
POOL = [
    (LINK % ("pool", "pool"), "pr_poollist", ""), ("struct pool_pagelist", "pr_emptypages", ""),
    ("struct pool_pagelist", "pr_fullpages", ""), ("struct pool_pagelist", "pr_partpages", ""),
    ("struct pool_item_header *", "pr_curpage", ""), ("struct pool *", "pr_phpool", ""),
    ("struct pool_cache *", "pr_cache", ""), ("unsigned int", "pr_size", ""),
    ("unsigned int", "pr_align", ""), ("unsigned int", "pr_itemoffset", ""),
    ("unsigned int", "pr_minitems", ""), ("unsigned int", "pr_minpages", ""),
    ("unsigned int", "pr_maxpages", ""), ("unsigned int", "pr_npages", ""),
    ("unsigned int", "pr_itemsperpage", ""), ("unsigned int", "pr_nitems", ""),
    ("unsigned int", "pr_nout", ""), ("unsigned int", "pr_hardlimit", ""),
    ("struct pool_allocator *", "pr_alloc", ""), ("const char *", "pr_wchan", ""),
    ("unsigned int", "pr_flags", ""), ("unsigned int", "pr_roflags", ""),
    ("struct kmutex", "pr_lock", ""), ("int", "pr_ipl", ""), ("int", "pr_maxcolor", ""),
    ("int", "pr_curcolor", ""), ("unsigned long", "pr_nget", ""), ("unsigned long", "pr_nfail", ""),
    ("unsigned long", "pr_nput", ""), ("unsigned long", "pr_npagealloc", ""),
    ("unsigned long", "pr_npagefree", ""), ("unsigned int", "pr_hiwat", ""),
    ("unsigned long", "pr_nidle", ""), ("void *", "pr_qcache", ""),
]
POOL_NEW = [("unsigned int", "pr_poolid", ""), ("unsigned int", "pr_maxitems", ""),
            ("_Bool", "pr_redzone", ""), ("size_t", "pr_reqsize", "")]
POOL_OLD = [("unsigned int", "pr_slack", ""), ("int", "pr_phoffset", "")]
CACHE = [
    ("struct pool", "pc_pool", ""), (LINK % ("pool_cache", "pool_cache"), "pc_cachelist", ""),
    ("pcg_t *", "pc_fullgroups", ""), ("pcg_t *", "pc_partgroups", ""),
    ("int", "pc_pcgsize", ""), ("int", "pc_ncpu", ""), ("void *", "pc_arg", ""),
    ("pool_cache_cpu_t", "pc_cpu0", ""), ("void *", "pc_cpus", "[%d]" % MAX_CPUS),
]
CACHE_OLD = [("pcg_t *", "pc_emptygroups", ""), ("unsigned long long", "pc_hits", ""),
             ("unsigned long long", "pc_misses", ""), ("unsigned long long", "pc_contended", ""),
             ("unsigned int", "pc_nempty", ""), ("unsigned int", "pc_nfull", ""),
             ("unsigned int", "pc_npart", "")]
CACHE_NEW = [("unsigned int", "pc_roflags", ""), ("_Bool", "pc_redzone", "")]
CPU = [("struct pool_cache_group *", "cc_current", ""), ("struct pool_cache_group *", "cc_previous", ""),
       ("unsigned long long", "cc_misses", ""), ("unsigned long long", "cc_hits", "")]
CPU_OLD = [("struct pool_cache *", "cc_cache", ""), ("int", "cc_ipl", ""), ("int", "cc_cpuindex", "")]
CPU_NEW = [("unsigned long long", "cc_pcmisses", ""), ("unsigned long long", "cc_contended", ""),
           ("unsigned int", "cc_nfull", ""), ("unsigned int", "cc_npart", "")]
GROUP = [("struct pool_cache_group *", "pcg_next", ""), ("unsigned int", "pcg_avail", ""),
         ("unsigned int", "pcg_size", "")]
HEADER = [("struct { struct pool_item_header *le_next, **le_prev; }", "ph_pagelist", ""),
          ("struct { struct pool_item_header *spe_left, *spe_right; }", "ph_node", ""),
          ("void *", "ph_page", ""), ("unsigned int", "ph_time", ""),
          ("unsigned short", "ph_nmissing", ""), ("unsigned short", "ph_off", "")]
ITEM = [("unsigned int", "pi_magic", ""),
        ("struct { struct pool_item *le_next, **le_prev; }", "pi_list", "")]
ALLOCATOR = [("void *", "pa_alloc", ""), ("void *", "pa_free", ""), ("unsigned int", "pa_pagesz", ""),
             ("struct kmutex", "pa_lock", ""), ("int", "pa_pagemask", ""), ("int", "pa_pageshift", "")]
GUARD = [("unsigned int", "kg_depth", ""), ("void **", "kg_fifo", ""), ("unsigned int", "kg_rotor", ""),
         ("void *", "kg_vmem", "")]

# name, item size, page size, what is special about it
PLAN = [
    ("kmem-%d", 8, 4096, "kmem"), ("kmem-%d", 16, 4096, "kmem"), ("kmem-%d", 32, 4096, "kmem"),
    ("kmem-%d", 64, 4096, "kmem"), ("kmem-%d", 128, 4096, "kmem"), ("kmem-%d", 256, 4096, "kmem"),
    ("kmem-%d", 512, 4096, "kmem"), ("kmem-%d", 1024, 4096, "kmem"), ("kmem-%d", 2048, 4096, "kmem"),
    ("kmem-%d", 4096, 4096, "kmem"), ("meta", 120, 4096, "recursive"), ("threads", 440, 4096, "cache"),
    ("files", 96, 4096, "cache limit"), ("buffers-64k", 65536 // 8, 16384, ""), ("names", 1024, 4096, "unused"),
    ("a-name-that-is-longer-than-any-column", 200, 8192, "cache large"), ("ticker", 64, 4096, ""),
]


class Maker:
    """One image: its seed decides everything."""

    def __init__(self, folder, bits, seed, build_id):
        self.folder, self.bits, self.seed = pathlib.Path(folder), bits, seed
        self.build_id = build_id
        self.random = random.Random(1000 * bits + seed)
        self.is_new = seed % 2 == 0
        self.pae = bits == 32 and self.is_new
        self.word = bits // 8
        self.group = {False: 15 if bits == 64 else 14, True: 63 if bits == 64 else 62}
        self.base = 0xffffffff80000000 if bits == 64 else 0xc0000000
        self.text = 0x200000 if bits == 64 else 0x100000
        self.tables = 0x400000
        self.heap_load = 0x600000
        slot = self.random.randrange(1, 64)
        self.heap = (0xffffc00000000000 if bits == 64 else 0xd0000000) + slot * 0x200000
        self.version = "NetBSD %s (TEST) #%d: seed %d\\n\\tbits %d\\n" % (
            "10.99.7" if self.is_new else "8.99.1", self.random.randrange(1, 1000), seed, bits)
        self.lines, self.expected = [], []
        self.places = {}  # C expression of an address, and its symbol
        self.cpus = self.random.randrange(1, 5)

    # -- structures ------------------------------------------------------------------------------

    def struct(self, name, members, last=""):
        members = list(members)
        self.random.shuffle(members)
        text, pads = "struct %s {\n" % name, 0
        for kind, member, after in members:
            if self.random.random() < 0.4:
                pads += 1
                text += "\tunsigned char pad_%d[%d];\n" % (pads, self.random.randrange(1, 24))
            text += "\t%s %s%s;\n" % (kind, member, after)
        return text + last + "};\n"

    def guard_members(self):
        members = list(GUARD)
        self.random.shuffle(members)
        return " ".join("%s %s;" % member[:2] for member in members)

    def header_file(self):
        new = self.is_new
        union = "\tunion {\n\t\tstruct { struct { struct pool_item *lh_first; } phu_itemlist; } phu_normal;\n" \
                "\t\tstruct { unsigned int phu_bitmap[1]; } phu_notouch;\n" \
                "\t\tunsigned int words[sizeof(void *) / 4];\n\t} %s;\n" % ("ph_u2" if new else "ph_u")
        group_end = "\tpcgpair_t pcg_objects[1];\n"
        return "".join([
            "#define HEAP_LOAD 0x%x\n#define GUARD_WRITES_BACK %d\n" % (self.heap_load, not new),
            "#define KMEM_GUARD_MEMBERS %s\n" % self.guard_members(),
            "typedef __SIZE_TYPE__ size_t;\nstruct pool;\nstruct pool_item_header;\nstruct pool_cache;\n",
            "struct kmutex { unsigned long owner; unsigned int ipl; };\n",
            "typedef struct pcgpair { void *pcgo_va; unsigned long pcgo_pa; } pcgpair_t;\n",
            "struct pool_pagelist { struct pool_item_header *lh_first; };\n",
            self.struct("pool_cache_group", GROUP, group_end), "typedef struct pool_cache_group pcg_t;\n",
            self.struct("pool_cache_cpu", CPU + (CPU_NEW if new else CPU_OLD)),
            "typedef struct pool_cache_cpu pool_cache_cpu_t;\n",
            self.struct("pool_item", ITEM), self.struct("pool_item_header", HEADER, union),
            self.struct("pool_allocator", ALLOCATOR),
            self.struct("pool", POOL + (POOL_NEW if new else POOL_OLD)),
            self.struct("pool_cache", CACHE + (CACHE_NEW if new else CACHE_OLD)),
            "extern const char version[];\nextern const unsigned heap_pages;\nextern const unsigned heap_page[];\n",
        ])

    # -- contents --------------------------------------------------------------------------------

    def place(self, kind, name, value):
        self.lines.append("static HEAP %s %s = {%s};" % (kind, name, value))

    def items(self, pool, index, free):
        """The struct of a page and its initial value: free items are linked, or bits."""
        count, size = pool["itemsperpage"], pool["size"]
        page, link = "page_%s_%d" % (pool["id"], index), []
        if not pool["bitmap"]:
            for k, item in enumerate(free):
                follow = "&%s.item[%d].free" % (page, free[k + 1]) if k + 1 < len(free) else "0"
                link.append(".item[%d].free = {.pi_magic = 0xdeadbeef, .pi_list = {.le_next = %s}}" % (item, follow))
        before = ""
        if pool["header_room"]:
            before = "union { unsigned char room[%d]; struct pool_item_header ph; } head; " % pool["header_room"]
        elif pool["offset"]:
            before = "unsigned char before[%d]; " % pool["offset"]
        item = "unsigned char raw[%d];" % size if pool["bitmap"] else \
            "unsigned char raw[%d]; struct pool_item free;" % size
        rest = pool["pagesize"] - max(pool["header_room"], pool["offset"]) - count * size
        kind = "struct of_%s { %sunion { %s } item[%d]; unsigned char after[%d]; }" % (
            page, before, item, count, rest)
        self.lines.append("%s;\n_Static_assert(sizeof(struct of_%s) == %d, \"a page\");" % (kind, page, pool["pagesize"]))
        return page, link

    def page(self, pool, index, live, following):
        """A page with so many items handed out; returns the C name of its header."""
        count = pool["itemsperpage"]
        taken = sorted(self.random.sample(range(count), live))
        free = [item for item in range(count) if item not in set(taken)]
        self.random.shuffle(free)
        page, link = self.items(pool, index, free)
        union = "ph_u2" if self.is_new else "ph_u"
        head = [".ph_page = &%s" % page, ".ph_nmissing = %d" % live,
                ".ph_off = %d" % max(pool["header_room"], pool["offset"]),
                ".ph_time = %d" % self.random.randrange(1, 100000),
                ".ph_pagelist = {.le_next = %s}" % following]
        name, more = "header_%s_%d" % (pool["id"], index), []
        if pool["bitmap"]:
            words = [0] * max((count + 31) // 32, self.word // 4)
            for item in free:
                words[item // 32] |= 1 << item % 32
            inside, more = words[:self.word // 4], words[self.word // 4:]
            head.append(".%s.words = {%s}" % (union, ", ".join("0x%xu" % w for w in inside)))
        elif free:
            head.append(".%s.phu_normal.phu_itemlist.lh_first = &%s.item[%d].free" % (union, page, free[0]))
        declared = "static HEAP __attribute__((aligned(%d))) struct of_%s %s" % (pool["pagesize"], page, page)
        self.lines.append(declared + ";")
        if pool["header_room"]:
            link.insert(0, ".head = {.ph = {%s}}" % ", ".join(head))
            where = "&%s.head.ph" % page
        else:
            self.lines.append("_Static_assert(sizeof(struct pool_item_header) == "
                              "__builtin_offsetof(struct pool_item_header, %s) + sizeof(void *), \"bits go on\");" % union)
            self.place("struct { struct pool_item_header ph; unsigned int more[%d]; }" % len(more), name,
                       ".ph = {%s}, .more = {%s}" % (", ".join(head), ", ".join("0x%xu" % w for w in more)))
            where = "&%s.ph" % name
        self.lines.append("%s = {%s};" % (declared, ", ".join(link)))
        return where, page, taken

    def group_of(self, name, size, objects, following="0"):
        kind = "struct { pcg_t head; pcgpair_t more[%d]; }" % (size - 1)
        pairs = ["{%s, 0}" % o for o in objects]
        head = ".pcg_next = %s, .pcg_avail = %d, .pcg_size = %d" % (following, len(objects), size)
        # the objects of a group go on behind its struct, which declares one
        self.place(kind, name + "_room", ".head = {%s, .pcg_objects = {%s}}, .more = {%s}" % (
            head, "".join(pairs[:1]), ", ".join(pairs[1:])))
        name = "&%s_room.head" % name
        return name

    def cache(self, pool, taken):
        """A pool cache over the pool: groups of items that were put back."""
        size = self.group[pool["large"]]
        spare = list(taken)
        self.random.shuffle(spare)
        parked = 0

        def group(name, avail, following="0"):
            nonlocal parked
            objects = [spare.pop() for _ in range(avail)]
            parked += avail
            return self.group_of("group_%s_%s" % (pool["id"], name), size, objects, following)

        full = min(self.random.randrange(0, 4), len(spare) // size)
        full_head = "0"
        for k in range(full):
            full_head = group("full_%d" % k, size, full_head)
        part = self.random.randrange(0, 2) if len(spare) > 3 else 0
        part_head = group("part", self.random.randrange(1, min(len(spare), size)), "0") if part else "0"
        cpus, fulls, parts = [], full, part
        for cpu in range(self.cpus):
            figures = {name: self.random.randrange(1, 1 << 40) for name in ("hits", "misses", "pcmisses", "contended")}
            figures["misses"] %= figures["hits"]
            figures["pcmisses"] %= figures["misses"] + 1
            current = group("current_%d" % cpu, self.random.randrange(0, min(len(spare), size) + 1))
            previous = group("previous_%d" % cpu, self.random.choice([0, size]) if len(spare) >= size else 0)
            value = ".cc_current = %s, .cc_previous = %s, .cc_hits = %dull, .cc_misses = %dull" % (
                current, previous, figures["hits"], figures["misses"])
            if self.is_new:
                # what a CPU has put on the list another one may have taken off: only the sum counts
                n_full = fulls if cpu == self.cpus - 1 else self.random.randrange(0, 3)
                n_part = parts if cpu == self.cpus - 1 else self.random.randrange(0, 3)
                fulls, parts = fulls - n_full, parts - n_part
                value += ", .cc_pcmisses = %dull, .cc_contended = %dull, .cc_nfull = %du, .cc_npart = %du" % (
                    figures["pcmisses"], figures["contended"], n_full & 0xffffffff, n_part & 0xffffffff)
            cpus.append((value, figures))
        empty = 0 if self.is_new else self.random.randrange(0, 5)
        hits, misses, contended = (self.random.randrange(1, 1 << 36) for _ in range(3))
        inner = [".pc_pool = {%s}" % pool["value"], ".pc_fullgroups = %s" % full_head,
                 ".pc_partgroups = %s" % part_head, ".pc_pcgsize = %d" % size, ".pc_ncpu = %d" % self.cpus,
                 ".pc_cpu0 = {%s}" % cpus[0][0]]
        name = "cache_%s" % pool["id"]
        for cpu, (value, _) in enumerate(cpus):
            where = "&%s.pc_cpu0" % name
            if cpu:
                where = "&cpu_%s_%d" % (pool["id"], cpu)
                self.place("pool_cache_cpu_t", where[1:], value)
            inner.append(".pc_cpus[%d] = %s" % (cpu, where))
        if not self.is_new:
            inner.append(".pc_hits = %dull, .pc_misses = %dull, .pc_contended = %dull, .pc_nempty = %d, "
                         ".pc_nfull = %d, .pc_npart = %d" % (hits, misses, contended, empty, full, part))
        else:
            # the groups' exchanges are counted by each CPU there: what it missed, and of that what the lists missed
            missed = sum(f["misses"] for _, f in cpus)
            misses = sum(f["pcmisses"] for _, f in cpus)
            hits, contended = missed - misses, sum(f["contended"] for _, f in cpus)
        self.place("struct pool_cache", name, ", ".join(inner))
        pool["expected"]["cache"] = {
            "group_size": size, "full": full, "partial": part, "empty": empty, "hits": hits, "misses": misses,
            "contended": contended, "cpu_hits": sum(f["hits"] for _, f in cpus),
            "cpu_misses": sum(f["misses"] for _, f in cpus), "parked": parked}

    def pool(self, number, plan, following):
        """A pool, its pages and its cache; following: C expression of the next in the list."""
        name, size, pagesize, special = plan
        pick = self.random.randrange
        if "%" in name:
            name = ("kmem-%05d" if self.is_new else "kmem-%d") % size
        bitmap = size < 64 or (self.is_new and pick(3) == 0)
        room = 192 if not bitmap and "kmem" not in special and pick(2) else 0
        offset = 0 if room or pagesize % size == 0 else self.word * pick((pagesize % size) // self.word)
        count = (pagesize - max(room, offset)) // size
        pages = 0 if "unused" in special else pick(1, 2 + (6 if count < 100 else 3))
        live = [self.random.choice([0, count, pick(0, count + 1), pick(0, count + 1)]) for _ in range(pages)]
        pool = {"id": "p%d" % number, "size": size, "pagesize": pagesize, "bitmap": bitmap, "header_room": room,
                "offset": offset, "itemsperpage": count, "large": "large" in special}
        lists = {"empty": [], "full": [], "part": []}
        for index, n in enumerate(live):
            lists["empty" if not n else "full" if n == count else "part"].append((index, n))
        heads, rows, taken = {}, [], []
        for which, members in lists.items():
            heads[which] = "0"
            for index, n in reversed(members):
                heads[which], page, items = self.page(pool, index, n, heads[which])
                taken += ["&%s.item[%d]" % (page, item) for item in items]
                rows.append({"symbol": page, "live": n, "list": which, "items": items})
        # counters of 64 bits have more than 32
        out, released = sum(live), pick(0, 1 << (44 if self.bits == 64 else 30))
        flags = (USEBMAP if bitmap and self.is_new else 0) | (NOTOUCH if bitmap else 0) | (PHINPAGE if room else 0)
        flags |= (LARGECACHE if pool["large"] else 0) | (RECURSIVE if "recursive" in special else 0)
        freed = pick(0, 1000)
        row = {
            "name": name, "size": size, "reqsize": size - pick(0, 4) if self.is_new else size,
            "align": self.random.choice([8, 16, 64]), "itemoffset": 0, "minitems": pick(0, 9), "minpages": pick(0, 3),
            "maxpages": self.random.choice([UNLIMITED, UNLIMITED, 8 + pick(100)]), "npages": pages,
            "itemsperpage": count, "nitems": pages * count - out, "nout": out,
            "hardlimit": 100000 + pick(100) if "limit" in special else UNLIMITED,
            "nget": 0 if "unused" in special else released + out, "nput": 0 if "unused" in special else released,
            "nfail": pick(0, 3) * pick(0, 100), "npagealloc": pages + freed, "npagefree": freed,
            "hiwat": pages + pick(0, 9), "nidle": len(lists["empty"]), "flags": 0, "roflags": flags,
            "pagesize": pagesize, "moving": name == "ticker",
        }
        pool["expected"] = row
        self.lines.append("static HEAP char name_%d[] = \"%s\";" % (number, name))
        values = [".pr_wchan = name_%d" % number, ".pr_poollist = {.tqe_next = %s}" % following,
                  ".pr_alloc = &allocator_%d" % pagesize]
        counts = [key for key in row if key not in
                  ("name", "pagesize", "moving", "reqsize", "size", "flags", "roflags")]
        values += [".pr_%s = %du%s" % (key, row[key], "l" if row[key] > UNLIMITED else "") for key in counts]
        values += [".pr_size = %d, .pr_roflags = 0x%x" % (size, flags)]
        values += [".pr_emptypages = {%(empty)s}, .pr_fullpages = {%(full)s}, .pr_partpages = {%(part)s}" % heads]
        if self.is_new:
            values.append(".pr_reqsize = %d, .pr_poolid = %d" % (row["reqsize"], number))
        has_cache = special.startswith(("kmem", "cache"))
        if has_cache:
            values.append(".pr_cache = &cache_p%d" % number)
            self.lines.append("static struct pool_cache cache_p%d;" % number)
        pool["value"] = ", ".join(values)
        if has_cache:
            self.cache(pool, taken)
            where = "&cache_p%d.pc_pool" % number
        else:
            self.place("struct pool", "pool_p%d" % number, pool["value"])
            where = "&pool_p%d" % number
            row["cache"] = None
        row["where"], row["pages"] = where, rows
        self.expected.append(row)
        return where

    def contents(self):
        lines = self.lines
        lines.append('#define HEAP __attribute__((section(".heap")))')
        for size in sorted({plan[2] for plan in PLAN}):
            self.place("struct pool_allocator", "allocator_%d" % size, ".pa_pagesz = %d" % size)
        order = list(enumerate(PLAN))
        self.random.shuffle(order)
        following = "0"
        for number, plan in order:
            following = self.pool(number, plan, following)
            if plan[0] == "ticker":
                lines.append("struct pool *const ticker = %s;" % following)
        self.expected.reverse()
        lines.append("struct pool *const pool_at[] = {%s};" % ", ".join(row.pop("where") for row in self.expected))
        lines.append("struct { struct pool *tqh_first, **tqh_last; } pool_head = {.tqh_first = %s};" % following)
        lines.append('const char version[] = "%s";\nconst char ostype[] = "NetBSD";' % self.version)
        return "\n".join(lines) + "\n"

    # -- page tables -----------------------------------------------------------------------------

    def place_pages(self, count):
        """Physical pages of the heap, all over what no other part of the image uses."""
        self.physical = [page * PAGE for page in
                         self.random.sample(range((self.heap_load >> 12) + count, RAM_BYTES >> 12), count)]

    def table_source(self):
        pages, at = self.physical, self.tables
        wide = self.bits == 64 or self.pae
        entry, per = (".quad", 512) if wide else (".long", 1024)
        large = 0x200000 if wide else 0x400000
        tables = []  # (name, {index: value})

        def table(entries):
            tables.append(entries)
            return at + PAGE * (len(tables) - 1)

        root = table({})
        low = {k: k * large | 0x83 for k in range(RAM_BYTES // large)}
        first = (self.heap & (large * per - 1)) // large
        leaves = [table({}) for _ in range((len(pages) + per - 1) // per + 1)]
        for k, physical in enumerate(pages):
            page = ((self.heap & (large - 1)) >> 12) + k
            tables[(leaves[page // per] - at) // PAGE][page % per] = physical | 3
        heap = {first + k: leaf | 3 for k, leaf in enumerate(leaves)}
        if self.bits == 64:
            pd, image, heap_pd = table(low), table(dict(low)), table(heap)
            tables[0].update({
                0: table({0: pd | 3}) | 3, 511: table({510: image | 3}) | 3,
                self.heap >> 39 & 511: table({self.heap >> 30 & 511: heap_pd | 3}) | 3})
        elif self.pae:
            # the four directories have to be in a row: the root is the first of them
            directories = [dict(low), {}, {}, dict(low)]
            assert self.heap >> 30 == 3
            directories[3].update(heap)
            at_new = [table(d) for d in directories]
            self.root = at_new[0]
            self.pointers = table({k: d | 1 for k, d in enumerate(at_new)})
        else:
            tables[0].update(low)
            tables[0].update({(self.base >> 22) + k: v for k, v in low.items()})
            tables[0].update({(self.heap >> 22) + k: leaf | 3 for k, leaf in enumerate(leaves)})
        if not self.pae:
            self.root = self.pointers = root
        text = ["\t.section .tables, \"aw\"\n\t.globl page_tables\npage_tables:"]
        for entries in tables:
            last = -1
            for index in sorted(entries):
                if index > last + 1:
                    text.append("\t.skip %d" % ((index - last - 1) * (8 if wide else 4)))
                text.append("\t%s 0x%x" % (entry, entries[index]))
                last = index
            text.append("\t.balign 4096" if last >= 0 else "\t.skip 4096")
        word = ".quad" if self.bits == 64 else ".long"
        text.append("\t.data\n\t.balign 8\n\t.globl PDPpaddr\nPDPpaddr:\n\t%s 0x%x" % (word, self.root))
        text.append("\t.section .rodata\n\t.balign 4\n\t.globl heap_page, heap_pages\nheap_page:")
        text += ["\t.long 0x%x" % physical for physical in pages]
        text.append("heap_pages:\n\t.long %d" % len(pages))
        # with an alignment of 4, which QEMU takes from the segment when it looks for the entry point
        text.append("\t.section .note.netbsd.ident, \"a\", @note\n\t.balign 4\n\t.long 7, 4, 1\n"
                    "\t.asciz \"NetBSD\"\n\t.balign 4\n\t.long %d" % (1099000700 if self.is_new else 899000100))
        text.append("\t.section .note.GNU-stack, \"\", @progbits")
        return "\n".join(text) + "\n"

    # -- building --------------------------------------------------------------------------------

    def run(self, *command):
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True, check=False)
        if done.returncode:
            raise RuntimeError("%s:\n%s" % (" ".join(map(str, command)), done.stdout))
        return done.stdout

    def compile(self, source, name, *more):
        flags = ["-g", "-O1", "-std=gnu11", "-ffreestanding", "-fno-builtin", "-fno-pic", "-fno-pie",
                 "-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-fcf-protection=none",
                 "-mgeneral-regs-only", "-m%d" % self.bits]
        if self.bits == 64:
            flags += ["-mcmodel=kernel", "-mno-red-zone"]
        if str(source).endswith(".c") and name != "other":
            flags += ["-include", self.work / "pool.h"]
        target = self.work / (name + ".o")
        self.run("gcc", *flags, *more, "-c", source, "-o", target)
        return target

    def link(self, objects, target):
        define = {"IMAGE_BASE": self.base, "TEXT": self.text, "TABLES": self.tables, "HEAP": self.heap,
                  "HEAP_LOAD": self.heap_load}
        words = ["--defsym=%s=0x%x" % item for item in define.items()]
        self.run("ld", "-m", "elf_x86_64" if self.bits == 64 else "elf_i386", "-nostdlib", "-static", "-no-pie",
                 "-z", "max-page-size=4096", "-z", "noexecstack", "--no-warn-rwx-segments",
                 "--build-id=%s" % ("sha1" if self.build_id else "none"), *words, "-T", HERE / "link.ld",
                 *objects, "-o", target)

    def symbols(self, image):
        found = {}
        for line in self.run("nm", image).splitlines():
            words = line.split()
            if len(words) == 3:
                found[words[2]] = int(words[0], 16)
        return found

    def segments(self, image):
        """(virtual, physical, bytes in the file, contents) of what is loaded."""
        for line in self.run("readelf", "-lW", image).splitlines():
            words = line.split()
            if words and words[0] == "LOAD":
                offset, virtual, physical, size = (int(word, 16) for word in words[1:5])
                yield virtual, physical, image.read_bytes()[offset:offset + size]

    def contents_at(self, image, address, size):
        for virtual, _, data in self.segments(image):
            if virtual <= address and address + size <= virtual + len(data):
                return data[address - virtual:address - virtual + size]
        raise RuntimeError("nothing is loaded to 0x%x" % address)

    def write_ram(self, image):
        ram = bytearray(RAM_BYTES)
        for virtual, physical, data in self.segments(image):
            if virtual != self.heap:
                ram[physical:physical + len(data)] = data
                continue
            for k in range(len(data) // PAGE):
                where = self.physical[k]
                ram[where:where + PAGE] = data[k * PAGE:(k + 1) * PAGE]
        with open(self.folder / "netbsd.ram", "wb") as file:
            for at in range(0, RAM_BYTES, PAGE):  # with holes
                if any(ram[at:at + PAGE]):
                    file.seek(at)
                    file.write(ram[at:at + PAGE])
            file.truncate(RAM_BYTES)

    def make(self):
        self.work = self.folder / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        (self.work / "pool.h").write_text(self.header_file())
        (self.work / "contents.c").write_text(self.contents())
        self.physical = [0]
        pae = ["-DCR4_BITS=0x%x" % (0x20 if self.pae else 0x10)]
        parts = [self.compile(self.work / "contents.c", "contents"), self.compile(HERE / "kernel.c", "kernel"),
                 self.compile(HERE / "other.c", "other")]
        full = self.folder / "netbsd.gdb"
        for _ in range(2):  # the first link tells how many pages the heap has
            (self.work / "tables.S").write_text(self.table_source())
            boot = self.compile(HERE / ("boot%d.S" % self.bits), "boot", "-DIMAGE_BASE=0x%x" % self.base,
                                "-DROOT_OFFSET=0x%x" % (self.pointers - self.tables), *pae)
            self.link([boot, self.compile(self.work / "tables.S", "tables"), *parts], full)
            pages = max(len(data) for virtual, _, data in self.segments(full) if virtual == self.heap) // PAGE
            if len(self.physical) != pages:
                self.place_pages(pages)
        self.run("objcopy", "--only-keep-debug", full, self.folder / "netbsd.debug")
        self.run("objcopy", "-g", "--add-gnu-debuglink=" + str(self.folder / "netbsd.debug"), full,
                 self.folder / "netbsd")
        self.write_ram(full)
        symbols = self.symbols(full)
        pool_at = self.contents_at(full, symbols["pool_at"], len(self.expected) * self.word)
        for k, row in enumerate(self.expected):
            row["address"] = int.from_bytes(pool_at[k * self.word:(k + 1) * self.word], "little")
            for page in row["pages"]:
                page["address"] = symbols[page.pop("symbol")]
        text = {"bits": self.bits, "seed": self.seed, "pae": self.pae, "is_new": self.is_new,
                "version": self.version.encode().decode("unicode_escape"), "pools": self.expected,
                "symbols": {name: symbols[name] for name in
                            ("pool_head", "kmem_init", "kmem_guard_depth", "kmem_guard", "kmem_guard_size",
                             "hardclock_ticks", "version", "PDPpaddr")}}
        (self.folder / "expected.json").write_text(json.dumps(text, indent=1))
        return text


def image(folder, bits=64, seed=1, build_id=True):
    """Makes all files in the folder; returns what is to be seen."""
    return Maker(folder, bits, seed, build_id).make()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--bits", type=int, choices=(32, 64), default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-build-id", action="store_true")
    options = parser.parse_args()
    image(options.folder, options.bits, options.seed, not options.no_build_id)


if __name__ == "__main__":
    main()
