/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table `events` and the functions beside it, for any connection that has a trace as its main
 * database. Eponymous: it is there without being created, and nothing of it is in the file.
 *
 *	events(seq, time_ns, kind, address, size, cache, thread, target, stack_id, flags)
 *	    hidden: site   the same as stack_id, under the name that the API's ?site= has
 *	            value  what a kind has besides: count of lost events, pages of a slab, table index
 *	kms_hex(x)         an address as people write it: '0x7f...'
 *	kms_flags(x)       names of an event's flags: 'size redzone guard zero'
 *
 * thread is a thread id of the system. NULL stands where a kind has no such thing, or it is unknown.
 */
#ifndef KMS_TRACER_VTAB_H
#define KMS_TRACER_VTAB_H

#include "tracer/sqlite.h"

/** Registers table and functions. Returns an SQLite result. */
int kms_vtab_register(sqlite3 *db);

#endif
