/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/port/eh_frame.h"

#include <stddef.h>

/* DW_EH_PE: the low four bits say how a pointer is stored, the next three what it is added to. */
enum pointer_encoding {
	PE_ABSOLUTE = 0x00,
	PE_ULEB = 0x01,
	PE_U2 = 0x02,
	PE_U4 = 0x03,
	PE_U8 = 0x04,
	PE_SLEB = 0x09,
	PE_S2 = 0x0a,
	PE_S4 = 0x0b,
	PE_S8 = 0x0c,
	PE_FORMAT = 0x0f,
	PE_PC_RELATIVE = 0x10,
	PE_DATA_RELATIVE = 0x30,
	PE_BASE = 0x70,
	PE_INDIRECT = 0x80,
	PE_OMIT = 0xff,
};

enum header_layout {
	HEADER_VERSION = 1,
	/* The only table that linkers write: pairs of 32-bit offsets to the header, sorted. */
	HEADER_TABLE = PE_DATA_RELATIVE | PE_S4,
};

uint64_t kms_eh_unsigned(struct kms_eh_cursor *cursor, unsigned bytes)
{
	uint64_t value = 0;

	if (cursor->bad || bytes > sizeof(value) || (size_t)(cursor->end - cursor->at) < bytes) {
		cursor->bad = true;
		return 0;
	}
	__builtin_memcpy(&value, cursor->at, bytes);
	cursor->at += bytes;
	return value;
}

int64_t kms_eh_signed(struct kms_eh_cursor *cursor, unsigned bytes)
{
	uint64_t value = kms_eh_unsigned(cursor, bytes);
	unsigned unused = 64 - 8 * bytes;

	return (int64_t)(value << unused) >> unused;
}

uint64_t kms_eh_uleb(struct kms_eh_cursor *cursor)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint64_t byte = kms_eh_unsigned(cursor, 1);

		value |= (byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	cursor->bad = true;
	return 0;
}

int64_t kms_eh_sleb(struct kms_eh_cursor *cursor)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint64_t byte = kms_eh_unsigned(cursor, 1);

		value |= (byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		if ((byte & 0x40) && shift + 7 < 64)
			value |= ~UINT64_C(0) << (shift + 7);
		return (int64_t)value;
	}
	cursor->bad = true;
	return 0;
}

static uint64_t stored_pointer(struct kms_eh_cursor *cursor, uint8_t format)
{
	switch (format) {
	case PE_ABSOLUTE:
		return kms_eh_unsigned(cursor, sizeof(void *));
	case PE_ULEB:
		return kms_eh_uleb(cursor);
	case PE_SLEB:
		return (uint64_t)kms_eh_sleb(cursor);
	case PE_U2:
	case PE_U4:
	case PE_U8:
		return kms_eh_unsigned(cursor, 1u << (format - 1));
	case PE_S2:
	case PE_S4:
	case PE_S8:
		return (uint64_t)kms_eh_signed(cursor, 1u << (format - PE_S2 + 1));
	default:
		cursor->bad = true;
		return 0;
	}
}

uint64_t kms_eh_pointer(struct kms_eh_cursor *cursor, uint8_t encoding, uint64_t data_base)
{
	uint64_t here = (uintptr_t)cursor->at;
	uint64_t value;

	if (encoding == PE_OMIT || (encoding & PE_INDIRECT)) {
		cursor->bad = true;
		return 0;
	}
	value = stored_pointer(cursor, encoding & PE_FORMAT);
	switch (encoding & PE_BASE) {
	case 0:
		return value;
	case PE_PC_RELATIVE:
		return value + here;
	case PE_DATA_RELATIVE:
		return value + data_base;
	default:
		cursor->bad = true;
		return 0;
	}
}

static bool in_view(const struct kms_eh_view *view, uint64_t address)
{
	return address >= (uintptr_t)view->start && address < (uintptr_t)view->end;
}

/* A cursor over the entry at @address, past its length. Not good for the terminator. */
static struct kms_eh_cursor open_entry(const struct kms_eh_view *view, uint64_t address)
{
	struct kms_eh_cursor cursor = {.bad = true};
	uint64_t length;

	if (!in_view(view, address))
		return cursor;
	cursor = (struct kms_eh_cursor){(const uint8_t *)(uintptr_t)address, view->end, false};
	length = kms_eh_unsigned(&cursor, 4);
	if (length == UINT32_MAX)
		length = kms_eh_unsigned(&cursor, 8);
	if (length == 0 || length > (size_t)(cursor.end - cursor.at))
		cursor.bad = true;
	else
		cursor.end = cursor.at + length;
	return cursor;
}

/* One letter of a CIE's augmentation string; false for one that we do not know. */
static bool read_augmentation(struct kms_eh_cursor *cursor, uint8_t letter, struct kms_fde *fde)
{
	switch (letter) {
	case 'R':
		fde->encoding = (uint8_t)kms_eh_unsigned(cursor, 1);
		return true;
	case 'P': {
		uint8_t encoding = (uint8_t)kms_eh_unsigned(cursor, 1);

		(void)kms_eh_pointer(cursor, encoding & (uint8_t)~PE_INDIRECT, 0);
		return true;
	}
	case 'L':
		(void)kms_eh_unsigned(cursor, 1);
		return true;
	case 'S':
		fde->signal_frame = true;
		return true;
	case 'B':
		return true;
	default:
		return false;
	}
}

static bool read_cie(const struct kms_eh_view *view, uint64_t address, struct kms_fde *fde)
{
	struct kms_eh_cursor cursor = open_entry(view, address);
	const uint8_t *letters;
	unsigned version;
	uint64_t skip;

	if (kms_eh_unsigned(&cursor, 4) != 0 || cursor.bad)
		return false;
	version = (unsigned)kms_eh_unsigned(&cursor, 1);
	letters = cursor.at;
	while (kms_eh_unsigned(&cursor, 1))
		continue;
	if (cursor.bad || (version != 1 && version != 3) || (*letters && *letters != 'z'))
		return false;
	fde->code_align = kms_eh_uleb(&cursor);
	fde->data_align = kms_eh_sleb(&cursor);
	fde->return_register = version == 1 ? kms_eh_unsigned(&cursor, 1) : kms_eh_uleb(&cursor);
	fde->encoding = PE_ABSOLUTE;
	fde->signal_frame = false;
	fde->augmented = *letters == 'z';
	fde->common = cursor;
	if (!fde->augmented)
		return !cursor.bad;
	skip = kms_eh_uleb(&cursor);
	if (cursor.bad || skip > (size_t)(cursor.end - cursor.at))
		return false;
	fde->common.at = cursor.at + skip;
	for (letters++; *letters; letters++) {
		if (!read_augmentation(&cursor, *letters, fde))
			return false;
	}
	return !cursor.bad;
}

static bool read_fde(const struct kms_eh_view *view, uint64_t address, struct kms_fde *fde)
{
	struct kms_eh_cursor cursor = open_entry(view, address);
	uint64_t cie_place = (uintptr_t)cursor.at;
	uint64_t cie_back = kms_eh_unsigned(&cursor, 4);
	uint64_t skip;

	if (cursor.bad || cie_back == 0 || !read_cie(view, cie_place - cie_back, fde))
		return false;
	fde->start = kms_eh_pointer(&cursor, fde->encoding, 0);
	fde->end = fde->start + kms_eh_pointer(&cursor, fde->encoding & PE_FORMAT, 0);
	skip = fde->augmented ? kms_eh_uleb(&cursor) : 0;
	if (cursor.bad || skip > (size_t)(cursor.end - cursor.at))
		return false;
	cursor.at += skip;
	fde->program = cursor;
	return true;
}

/* Index of the last table entry whose code starts at or before @address. */
static bool search_table(const uint8_t *table, uint64_t count, uint64_t base, uint64_t address,
			 uint64_t *entry)
{
	uint64_t low = 0;
	int32_t pair[2];

	while (count > 0) {
		uint64_t middle = low + count / 2;

		__builtin_memcpy(pair, table + middle * sizeof(pair), sizeof(pair));
		if (base + (uint64_t)(int64_t)pair[0] <= address) {
			low = middle + 1;
			count -= count / 2 + 1;
		} else {
			count /= 2;
		}
	}
	if (low == 0)
		return false;
	__builtin_memcpy(pair, table + (low - 1) * sizeof(pair), sizeof(pair));
	*entry = base + (uint64_t)(int64_t)pair[1];
	return true;
}

/* Without a table: one entry after the other. */
static bool search_all(const struct kms_eh_view *view, uint64_t frame, uint64_t address,
		       struct kms_fde *fde)
{
	for (;;) {
		struct kms_eh_cursor cursor = open_entry(view, frame);

		if (cursor.bad)
			return false;
		if (read_fde(view, frame, fde) && address >= fde->start && address < fde->end)
			return true;
		frame = (uintptr_t)cursor.end;
	}
}

bool kms_eh_find(const struct kms_eh_view *view, const uint8_t *header, uint64_t address,
		 struct kms_fde *fde)
{
	struct kms_eh_cursor cursor = {header, view->end, false};
	uint64_t base = (uintptr_t)header;
	uint8_t encoding[4]; /* version, then of: frame pointer, count, table */
	uint64_t frame, count, entry;

	if (!in_view(view, base))
		return false;
	for (unsigned i = 0; i < 4; i++)
		encoding[i] = (uint8_t)kms_eh_unsigned(&cursor, 1);
	if (cursor.bad || encoding[0] != HEADER_VERSION)
		return false;
	frame = kms_eh_pointer(&cursor, encoding[1], base);
	if (cursor.bad)
		return false;
	if (encoding[2] == PE_OMIT || encoding[3] != HEADER_TABLE)
		return search_all(view, frame, address, fde);
	count = kms_eh_pointer(&cursor, encoding[2], base);
	if (cursor.bad || count > (size_t)(cursor.end - cursor.at) / 8)
		return false;
	if (!search_table(cursor.at, count, base, address, &entry))
		return false;
	return read_fde(view, entry, fde) && address >= fde->start && address < fde->end;
}
