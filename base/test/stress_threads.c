/*
 * base keeps no state of its own: threads that format, parse, hash and fail at the same time get
 * what they would get alone. Under the thread sanitizer hidden shared state is a race.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fmt.h"
#include "base/hash.h"

enum {
	N_THREADS = 4,
	N_ROUNDS = 2000,
};

/* The clock all threads read while the first one moves it. */
static struct kms_clock_fake shared_clock;

struct worker {
	pthread_t thread;
	unsigned int id;
	unsigned int mismatches;
};

/* One round's text: everything that formats, in one line that depends on the number only. */
static char *describe(uint64_t number)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_buf buf;

	kms_buf_init(&buf, 4096);
	kms_buf_addf(&buf, "%s %s %s %s", kms_fmt_bytes(number).text, kms_fmt_ns(number).text,
		     kms_fmt_count(number).text, kms_fmt_addr(number).text);
	(void)kms_err_sys(&err, -(int)(number % 100) - 1, "call", NULL); /* text is what counts */
	kms_err_context(&err, "round %u", (unsigned int)number);
	kms_buf_add_json(&buf, err.text, strlen(err.text));
	kms_buf_addf(&buf, "%016lx",
		     (unsigned long)kms_hash_bytes(buf.text, buf.used_bytes, number));
	return kms_buf_take(&buf);
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	uint64_t last_ns = 0;

	for (unsigned int i = 0; i < N_ROUNDS; i++) {
		uint64_t number = kms_hash_u64(i) >> i % 64;
		char *once = describe(number);
		char *twice = describe(number);
		uint64_t back = 0;
		uint64_t now_ns = kms_clock_now(&shared_clock.clock);

		if (!once || !twice || strcmp(once, twice) != 0 || now_ns < last_ns ||
		    kms_parse_addr(kms_fmt_addr(number).text, &back) || back != number)
			worker->mismatches++;
		if (worker->id == 0)
			kms_clock_fake_advance(&shared_clock, 1);
		last_ns = now_ns;
		free(once);
		free(twice);
	}
	return NULL;
}

int main(void)
{
	struct worker workers[N_THREADS] = {0};
	unsigned int mismatches = 0;

	kms_clock_fake_init(&shared_clock, 1);
	for (unsigned int i = 0; i < N_THREADS; i++) {
		workers[i].id = i;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) {
			fprintf(stderr, "cannot start a thread\n");
			return 1;
		}
	}
	for (unsigned int i = 0; i < N_THREADS; i++) {
		if (pthread_join(workers[i].thread, NULL))
			return 1;
		mismatches += workers[i].mismatches;
	}
	if (kms_clock_now(&shared_clock.clock) != 1 + N_ROUNDS)
		mismatches++;
	printf("%u mismatches in %u rounds of %u threads\n", mismatches, (unsigned int)N_ROUNDS,
	       (unsigned int)N_THREADS);
	return mismatches ? 1 : 0;
}
