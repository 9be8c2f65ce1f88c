/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Symbols and members of structures in an ELF file, for programs whose memory is read from outside.
 *
 * The file is the user's, or came from somewhere else, and its parsers are libelf and libdw: they run in
 * a child with limits, which sends back numbers and nothing else. The caller checks those.
 */
#ifndef KMS_TRACER_SYMBOLS_TYPES_H
#define KMS_TRACER_SYMBOLS_TYPES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/symbols.h"

enum kms_types_bounds {
	KMS_TYPES_SYMBOLS = 32,
	KMS_TYPES_STRUCTS = 16,
	KMS_TYPES_MEMBERS = 128,
	KMS_TYPES_SEGMENTS = 32, /* that are loaded; a kernel has two to four */
	KMS_TYPES_STRUCT_BYTES = 1 << 16,
	KMS_TYPES_REASON_BYTES = 160,
};

/** A structure: of several with its name the one that has the member. */
struct kms_types_struct {
	const char *name;
	const char *member;
};

/**
 * A member by its path: "pr_poollist.tqe_next". What begins with a dot is looked for in the structures
 * within, too, whatever their names are: ".phu_bitmap".
 */
struct kms_types_member {
	uint32_t structure; /* index in the question's */
	const char *path;
};

/** What is asked. All is borrowed for the call. */
struct kms_types_question {
	const char *path;
	const char *debug_root; /* where separate debug files are; NULL: /usr/lib/debug */
	const char *const *symbol;
	const struct kms_types_struct *structure;
	const struct kms_types_member *member;
	size_t n_symbols, n_structures, n_members;
	uint32_t deadline_ms; /* 0: 30 s */
};

struct kms_types_symbol {
	uint64_t address; /* 0: the file has no such symbol */
	uint64_t bytes;   /* 0: it does not say */
};

/** Where a member lies. Shape: checked to lie in its structure. */
struct kms_types_place {
	uint32_t byte;
	uint32_t
		bytes; /* of all of it; 0: the structure has no such member, or it is one of bits */
	uint32_t elements; /* of an array, else 1 */
};

/** A stretch of the file that is loaded. */
struct kms_types_segment {
	uint64_t address, physical, offset, file_bytes, memory_bytes;
};

/** A section with contents that are loaded and that nobody writes to. */
struct kms_types_section {
	uint64_t address, offset, bytes; /* bytes 0: none, or not in this file */
};

/** What was found. Shape: arrays in the order of the question. */
struct kms_types_answer {
	uint32_t word_bytes; /* 4 or 8 */
	uint32_t build_id_bytes;
	uint8_t build_id[KMS_SYMBOLS_BUILD_ID_BYTES];
	uint64_t build_id_address; /* where it is loaded to, 0: it is not */
	bool has_netbsd_note;      /* a section .note.netbsd.ident */
	bool has_symbols;          /* a symbol table, here or in the debug file */
	bool has_dwarf;            /* likewise DWARF */
	uint32_t n_segments;
	struct kms_types_segment segment[KMS_TYPES_SEGMENTS];
	struct kms_types_section constants; /* .rodata */
	struct kms_types_symbol symbol[KMS_TYPES_SYMBOLS];
	uint32_t struct_bytes[KMS_TYPES_STRUCTS]; /* 0: there is none */
	struct kms_types_place place[KMS_TYPES_MEMBERS];
	char debug_path[PATH_MAX]; /* of the separate debug file, "" none */
};

/**
 * Asks a file, and its debug file where it has no DWARF itself: of the same build id or check sum
 * (.gnu_debuglink), or PATH.debug beside it.
 *
 * A file without symbols or DWARF is an answer, too. Locks: forks; blocks until the deadline.
 * Errors: -ENOENT, ...: no regular file; -ENOEXEC: no ELF file of x86; -ETIMEDOUT; -EBADMSG: what is in
 *         it made the child end, or answer nonsense; -EAGAIN, -ENOMEM, ... of fork(2)
 */
int kms_types_ask(const struct kms_types_question *question, struct kms_types_answer *answer,
		  struct kms_err *err);

/** Checks an answer that came from somewhere: all bounds that kms_types_ask() promises. Errors: -EBADMSG */
int kms_types_check(const struct kms_types_question *question,
		    const struct kms_types_answer *answer, struct kms_err *err);

/** The child's part: answers in this process. Errors: as kms_types_ask() */
int kms_types_answer_here(const struct kms_types_question *question,
			  struct kms_types_answer *answer);

#endif
