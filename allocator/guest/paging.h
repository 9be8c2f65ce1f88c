/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables, and areas of address space that are opened part by part.
 *
 * A page of an area is reserved (nothing), lazy (promised: the first touch brings a zeroed page),
 * mapped, or shows the one page of zeros. What it was promised is counted in memory.c.
 */
#ifndef KMS_ALLOCATOR_GUEST_PAGING_H
#define KMS_ALLOCATOR_GUEST_PAGING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Goes on with the boot's tables: makes room for areas, and the APIC uncached. */
void kms_paging_init(void);

/** Physical address of the root table. */
uint64_t kms_paging_root(void);

/** Gives the boot's mapping of low addresses up: from now on NULL traps. CPUs flush by themselves. */
void kms_paging_drop_low(void);

/** Address space of an area, aligned; never given back. NULL when there is no more. */
void *kms_area_reserve(size_t bytes, size_t align);

/** Shows zeros in reserved pages. */
void kms_area_show_zeros(void *start, size_t bytes);

/**
 * Opens pages that are not open yet, @lazy or at once. False without memory; then nothing changed.
 */
bool kms_area_open(void *start, size_t bytes, bool lazy);

/** Gives the memory of open pages back; they are lazy then. Other CPUs are told. */
void kms_area_discard(void *start, size_t bytes);

/**
 * Makes open pages inaccessible and gives their memory back, and the promise too. Others may be
 * among them. Returns how many were open; the caller has to have other CPUs flush if any was.
 */
size_t kms_area_close(void *start, size_t bytes);

/** Takes access away and keeps what is in the pages, or gives it again. */
void kms_area_hide(void *start, size_t bytes);
void kms_area_unhide(void *start, size_t bytes);

/** The page of @address was touched: true if it was lazy, and is there now. */
bool kms_area_touch(uintptr_t address);

/** Can the page of @address be read? */
bool kms_paging_readable(uintptr_t address);

#endif
