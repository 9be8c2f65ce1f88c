/*
 * Monotonic time behind a pointer, so that tests decide what time it is.
 */
#ifndef KMS_BASE_CLOCK_H
#define KMS_BASE_CLOCK_H

#include <stdint.h>

/**
 * A source of time. Never goes backwards; its zero has no meaning.
 *
 * Locks:  now_ns() may be called from any thread.
 */
struct kms_clock {
	uint64_t (*now_ns)(const struct kms_clock *clock);
};

/** The machine's clock (CLOCK_MONOTONIC). Static; never freed. */
const struct kms_clock *kms_clock_system(void);

/** The time now, in nanoseconds. */
static inline uint64_t kms_clock_now(const struct kms_clock *clock)
{
	return clock->now_ns(clock);
}

/**
 * A clock that stands still until it is moved.
 *
 * Locks:  one thread moves it; others may read it (the value is atomic).
 */
struct kms_clock_fake {
	struct kms_clock
		clock; /* pass &fake.clock where a clock is wanted; must stay the first field */
	uint64_t time_ns;
};

/** Sets a fake clock up to show start_ns. Nothing needs undoing. */
void kms_clock_fake_init(struct kms_clock_fake *fake, uint64_t start_ns);

/** Moves a fake clock forward. */
void kms_clock_fake_advance(struct kms_clock_fake *fake, uint64_t by_ns);

#endif
