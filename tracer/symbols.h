/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Program counters to function, file and line.
 *
 * ELF and DWARF files are written by others, and their parsers have bugs. So they are read in a helper process with
 * resource limits and no rights: our own program, executed again, at the other end of a socket. Whatever happens to the
 * helper, the caller gets an answer for every address within the deadline; at worst "module + offset, and why no more".
 *
 * The parent side keeps every final answer in a bounded cache, trusts no byte that the helper sends, and may be used by
 * several threads at once.
 */
#ifndef KMS_TRACER_SYMBOLS_H
#define KMS_TRACER_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "base/err.h"

struct kms_symbols;

/** First argument of our own program that makes it a symbol helper; no part of the documented command line. */
#define KMS_SYMBOLS_HELPER_ARG "symbol-helper"

enum {
	KMS_SYMBOLS_BUILD_ID_BYTES = 64, /* longest build-id taken */
	KMS_SYMBOLS_PATH_BYTES = 4095,   /* longest module path, without its NUL */
	KMS_SYMBOLS_NAME_BYTES = 4096,   /* longest function or file name; what is longer is cut */
	KMS_SYMBOLS_FRAMES =
		64, /* most frames for one address: an inlined chain that is deeper is cut */
	KMS_SYMBOLS_MODULES = 16384, /* most modules in one resolver */
};

/** Why an address has no frames. Names as in the API: kms_symbol_reason_name. */
enum kms_symbol_reason {
	KMS_SYMBOL_OK,                /* there are frames */
	KMS_SYMBOL_NO_FILE,           /* the path is not there, not readable, or no regular file */
	KMS_SYMBOL_BUILD_ID_MISMATCH, /* another file is at the path by now */
	KMS_SYMBOL_NO_SYMBOL,         /* file read; nothing in it covers the address */
	KMS_SYMBOL_HELPER_DIED,       /* the helper could not be started or died over this module */
	KMS_SYMBOL_TIMEOUT,           /* no answer before the deadline */
	KMS_SYMBOL_BAD_ELF,           /* no ELF executable or shared object, or a damaged one */
	KMS_SYMBOL_CACHE_FULL,        /* the cache has reached its limit: cache_bytes */
	KMS_SYMBOL_N_REASONS,
};

/** Text of a reason: "ok", "no_file", "build_id_mismatch", ...; static; "unknown" for a value out of range. */
const char *kms_symbol_reason_name(enum kms_symbol_reason reason);

/**
 * How a resolver works. All zero is the default of everything.
 *
 * Shape:  paths are NUL-terminated and copied.
 */
struct kms_symbols_config {
	const char
		*helper_exec; /* program that calls kms_symbols_helper_main; NULL: /proc/self/exe */
	const char *debug_root;       /* where separate debug files are; NULL: /usr/lib/debug */
	uint64_t helper_memory_bytes; /* address space of the helper; 0: 2 GiB */
	uint64_t cache_bytes;         /* limit of all answers kept; 0: 64 MiB */
	uint32_t deadline_ms;      /* of one kms_symbols_resolve; 0: 2000, with debuginfod 60000 */
	uint32_t modules_open_max; /* modules the helper keeps open at once; 0: 32 */
	bool allow_debuginfod; /* let DEBUGINFOD_URLS work; the helper then keeps the right to use the network */
};

/**
 * Starts a resolver with its helper process.
 *
 * Shape:  cfg may be NULL: all defaults.
 * Owner:  the caller ends it with kms_symbols_destroy.
 * Locks:  any thread; blocks until the helper answers (some ms), at most for the deadline or 2 s. The helper is a child of
 *         the caller: code that waits for any child must leave pids alone that it does not know. It is in a process
 *         group of its own, so that an interrupt from the terminal does not reach it.
 * Errors: NULL with -ENOMEM, -EMFILE and the like, -ENOENT or -EACCES (helper_exec), -ECHILD (started, but does not
 *         answer as a helper), -ETIMEDOUT; err says which.
 */
struct kms_symbols *kms_symbols_create(const struct kms_symbols_config *cfg, struct kms_err *err);

/** Ends the helper and frees everything, frames and names handed out included. sym may be NULL. No other call may be under way. */
void kms_symbols_destroy(struct kms_symbols *sym);

/**
 * One file mapped by a target.
 *
 * Shape:  path has 1 to KMS_SYMBOLS_PATH_BYTES bytes; build_id has n_build_id bytes, 0 for "not known".
 */
struct kms_symbols_module {
	const char *path;
	const uint8_t *build_id;
	size_t n_build_id;
	uint64_t
		mapped_bytes; /* end of the mapped part in the file; 0 not known. A shorter file is another one */
};

/**
 * Makes a module known; the same path, build-id and size give the same id again. Reads no file.
 *
 * Owner:  everything is copied.
 * Locks:  any thread; does not block on the helper.
 * Errors: -EINVAL (empty or overlong path or build-id), -ENOSPC (KMS_SYMBOLS_MODULES reached), -ENOMEM; *id unchanged.
 */
int kms_symbols_module(struct kms_symbols *sym, const struct kms_symbols_module *desc, uint32_t *id,
		       struct kms_err *err);

/** One address to look up. */
struct kms_symbol_request {
	uint64_t offset; /* ELF virtual address: run-time address minus load bias of the module */
	uint32_t module; /* from kms_symbols_module */
	bool is_return;  /* a return address: the call before it is what is looked up */
};

/**
 * One function at an address.
 *
 * Names are as they stand in the file, whatever bytes they hold: escape them where they are printed. C++ names (and
 * Rust's older form) are demangled where libstdc++ is installed, else left as they are. function may be NULL where
 * only a line is known; file is NULL and line 0 where only a symbol is known.
 */
struct kms_symbol_frame {
	const char *function;
	const char *file;
	uint64_t
		function_offset; /* request offset minus start of the function; 0 in inlined frames */
	uint32_t line;           /* in outer frames of an inlined chain: the line of the call */
	bool inlined;            /* this function was inlined into the next frame */
};

/** What is known of one address: frames, innermost first (the last one is not inlined), or a reason why there are none. */
struct kms_symbol_answer {
	const struct kms_symbol_frame *frames; /* n_frames of them; NULL if none */
	uint32_t n_frames;
	enum kms_symbol_reason reason;
};

/**
 * Resolves a batch of addresses.
 *
 * Shape:  reqs and answers have n elements; answers[i] belongs to reqs[i]; every one is written, also on failure.
 * Owner:  frames and names belong to sym and stay valid until kms_symbols_destroy.
 * Locks:  any thread. Blocks at most cfg.deadline_ms, and 0.2 s more if the helper has to be killed; answers from the
 *         cache are not delayed by another thread's batch. What has no answer by then is KMS_SYMBOL_TIMEOUT and may be
 *         asked again; the helper keeps the files it has open. A module over which the helper hangs or dies twice is
 *         not asked again.
 * Errors: -ENOMEM: answers not in the cache are KMS_SYMBOL_HELPER_DIED. An unknown module id gives KMS_SYMBOL_NO_FILE.
 */
int kms_symbols_resolve(struct kms_symbols *sym, const struct kms_symbol_request *reqs, size_t n,
			struct kms_symbol_answer *answers);

/** Counts since kms_symbols_create. */
struct kms_symbols_stats {
	uint64_t n_requests;   /* addresses asked for */
	uint64_t n_cache_hits; /* of these answered without the helper */
	uint64_t n_helper_starts;
	uint64_t n_helper_deaths; /* died over a batch, or sent what it must not */
	uint64_t n_helper_hangs;  /* killed because it did not answer in time */
	uint64_t n_blacklisted;   /* modules not asked any more */
	uint64_t n_cache_full;    /* answers not kept */
	uint64_t cache_bytes;     /* held now */
	uint64_t cache_entries;
};

/** Copies the counts. Any thread. */
void kms_symbols_stats(struct kms_symbols *sym, struct kms_symbols_stats *out);

/** Process id of the helper, 0 if there is none at the moment. For tests and `status`. */
pid_t kms_symbols_helper_pid(struct kms_symbols *sym);

/** Whether a program was started as a symbol helper; its main then returns kms_symbols_helper_main(argc, argv). */
static inline bool kms_symbols_is_helper(int argc, char *const argv[])
{
	return argc >= 2 && strcmp(argv[1], KMS_SYMBOLS_HELPER_ARG) == 0;
}

/**
 * The helper: answers requests on its socket until the other end is closed.
 *
 * Must be called before main has started a thread or opened a file. Gives up its rights for good.
 * Returns the exit status: 0, or 2 if it was not started by kms_symbols_create.
 */
int kms_symbols_helper_main(int argc, char *argv[]);

#endif
