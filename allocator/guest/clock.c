/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulator may not run us for a while, so a plain "count until the PIT is done" would come out too
 * fast. Both counters are read as a pair, and a measurement counts if another one agrees.
 */
#include "allocator/guest/clock.h"

#include <stdbool.h>

#include "allocator/guest/apic.h"
#include "allocator/guest/cpu.h"

enum {
	PIT_HZ = 1193182,
	PIT_CHANNEL_2 = 0x42,
	PIT_MODE = 0x43,
	PIT_SQUARE_2 = 0xb4, /* channel 2, both bytes, mode 2 */
	PIT_LATCH_2 = 0x80,
	PIT_GATE = 0x61,
	WINDOW = 8 * PIT_HZ / 1000,
	TRIES = 6,
	PAIRS = 8,
	AGREE = 200, /* parts of which two measurements may differ by one */
	SCALE_SHIFT = 32,
	CMOS_INDEX = 0x70,
	CMOS_DATA = 0x71,
	CMOS_STATUS_A = 10,
	CMOS_STATUS_B = 11,
	CMOS_UPDATING = 0x80,
	CMOS_BINARY = 4,
};

#define NS_PER_S UINT64_C(1000000000)

struct pair {
	uint64_t tsc;
	uint32_t apic;
	uint16_t pit;
};

struct rates {
	uint64_t tsc_hz;
	uint64_t apic_hz;
};

static uint64_t base_tsc;
static uint64_t scale; /* ns per count << SCALE_SHIFT */

static uint16_t pit_read(void)
{
	uint8_t low;

	kms_out8(PIT_MODE, PIT_LATCH_2);
	low = kms_in8(PIT_CHANNEL_2);
	return (uint16_t)(low | kms_in8(PIT_CHANNEL_2) << 8);
}

/* The closest of some readings. */
static struct pair read_pair(void)
{
	struct pair best = {0};
	uint64_t best_gap = UINT64_MAX;

	for (int i = 0; i < PAIRS; i++) {
		uint64_t before = kms_cpu_tsc();
		uint16_t pit = pit_read();
		uint32_t apic = kms_apic_counted();
		uint64_t gap = kms_cpu_tsc() - before;

		if (gap < best_gap) {
			best_gap = gap;
			best = (struct pair){before + gap / 2, apic, pit};
		}
	}
	return best;
}

static struct rates measure(void)
{
	struct pair first, last;
	uint16_t ticks;

	kms_out8(PIT_GATE, (uint8_t)((kms_in8(PIT_GATE) & ~2) | 1));
	kms_out8(PIT_MODE, PIT_SQUARE_2);
	kms_out8(PIT_CHANNEL_2, 0xff);
	kms_out8(PIT_CHANNEL_2, 0xff);
	kms_apic_count_start();
	first = read_pair();
	do
		last = read_pair();
	while ((uint16_t)(first.pit - last.pit) < WINDOW);
	ticks = (uint16_t)(first.pit - last.pit);
	return (struct rates){
		.tsc_hz = (last.tsc - first.tsc) * PIT_HZ / ticks,
		.apic_hz = (uint64_t)(last.apic - first.apic) * PIT_HZ / ticks,
	};
}

static bool agree(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) < a / AGREE;
}

uint64_t kms_clock_start(void)
{
	struct rates rates = measure();

	for (int i = 0; i < TRIES; i++) {
		struct rates again = measure();
		bool good = agree(rates.tsc_hz, again.tsc_hz);

		rates = again;
		if (good)
			break;
	}
	scale = (NS_PER_S << SCALE_SHIFT) / (rates.tsc_hz ? rates.tsc_hz : 1);
	base_tsc = kms_cpu_tsc();
	return rates.apic_hz;
}

uint64_t kms_clock_ns(void)
{
	uint64_t tsc = kms_cpu_tsc();

	/* counters of CPUs may differ by a little */
	if (tsc < base_tsc)
		return 0;
	return (uint64_t)((unsigned __int128)(tsc - base_tsc) * scale >> SCALE_SHIFT);
}

static uint8_t cmos(uint8_t index)
{
	kms_out8(CMOS_INDEX, index);
	return kms_in8(CMOS_DATA);
}

static unsigned cmos_number(uint8_t index, bool binary)
{
	uint8_t value = cmos(index);

	return binary ? value : (value >> 4) * 10u + (value & 15u);
}

/* Days from 1970 to the first of March of a year, and so on: the year begins in March. */
static uint64_t days(unsigned year, unsigned month, unsigned day)
{
	unsigned y = month > 2 ? year : year - 1;
	unsigned m = month > 2 ? month - 3 : month + 9;

	return (uint64_t)365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

uint64_t kms_clock_wall_ns(void)
{
	bool binary = cmos(CMOS_STATUS_B) & CMOS_BINARY;
	unsigned second, minute, hour, day, month, year;

	for (int i = 0; i < 1000 * 1000 && cmos(CMOS_STATUS_A) & CMOS_UPDATING; i++)
		kms_cpu_pause();
	second = cmos_number(0, binary);
	minute = cmos_number(2, binary);
	hour = cmos_number(4, binary);
	day = cmos_number(7, binary);
	month = cmos_number(8, binary);
	year = 2000 + cmos_number(9, binary);
	if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23)
		return 0;
	return (((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * NS_PER_S;
}
