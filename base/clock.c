/*
 * Clocks: see clock.h.
 */
#include "base/clock.h"

#include <time.h>

static uint64_t system_now_ns(const struct kms_clock *clock)
{
	struct timespec ts;

	(void)clock;                               /* there is only one */
	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail: the clock exists on Linux */
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

const struct kms_clock *kms_clock_system(void)
{
	static const struct kms_clock clock = {.now_ns = system_now_ns};

	return &clock;
}

static uint64_t fake_now_ns(const struct kms_clock *clock)
{
	const struct kms_clock_fake *fake = (const struct kms_clock_fake *)clock;

	/* pairs with kms_clock_fake_advance: nothing but the value itself */
	return __atomic_load_n(&fake->time_ns, __ATOMIC_RELAXED);
}

void kms_clock_fake_init(struct kms_clock_fake *fake, uint64_t start_ns)
{
	fake->clock.now_ns = fake_now_ns;
	fake->time_ns = start_ns;
}

void kms_clock_fake_advance(struct kms_clock_fake *fake, uint64_t by_ns)
{
	__atomic_fetch_add(&fake->time_ns, by_ns, __ATOMIC_RELAXED);
}
