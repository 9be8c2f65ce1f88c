/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a chunk may contain, in few bytes: a list of the exact numbers or, where that is larger, a
 * Bloom filter of 10 bits a number (1 % false alarms). Kept in chunks.pages (4 KiB page numbers of
 * the events' addresses) and chunks.stacks (stack ids).
 *
 * Format: one byte says which.
 *   0  no filter: everything is possible
 *   1  list: count, first number, then differences, all LEB128
 *   2  Bloom: byte k, then the bits, eight a byte. Bit i of a number x, i = 0 .. k-1: with h = mix(x),
 *      ((h low 32 + i * (h high 32 | 1)) mod 2^32) * bits >> 32; mix is in filter.c.
 */
#ifndef KMS_TRACER_FILTER_H
#define KMS_TRACER_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Room that kms_filter_write() needs for n numbers. */
size_t kms_filter_room(size_t n);

/**
 * Writes the smaller of both forms.
 *
 * Shape:  @sorted ascending, no number twice; @out has kms_filter_room(n) bytes
 * Returns the bytes written.
 */
size_t kms_filter_write(const uint64_t *sorted, size_t n, uint8_t *out);

/**
 * False if the number was certainly not put in. Bytes that are no filter answer true: a damaged
 * filter costs time, not results.
 */
bool kms_filter_may_contain(const void *filter, size_t bytes, uint64_t number);

#endif
