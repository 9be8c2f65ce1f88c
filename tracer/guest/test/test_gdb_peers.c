/* SPDX-License-Identifier: BSD-2-Clause */
/* The gdb stub's protocol against peers that are no QEMU. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/guest/gdb.h"
#include "tracer/guest/test/peer.h"

static void expect_refused(const char *answer, unsigned repeat, int result)
{
	struct peer peer = {.greeting = "+", .answer = {answer}, .repeat = repeat};
	struct kms_gdb *gdb;

	peer_start(&peer);
	assert_int_equal(kms_gdb_open(peer.path, &gdb, NULL), result);
	peer_end(&peer);
}

static void a_packet_without_an_end_is_given_up(void **state)
{
	static char text[4096];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[0] = '$';
	expect_refused(text, UINT_MAX - 1, -EPROTO);
}

static void who_only_acknowledges_is_given_up(void **state)
{
	(void)state;
	expect_refused("++++++++++++++++++++++++++++++++", UINT_MAX - 1, -EPROTO);
}

static void an_answer_of_somebody_else_is_refused(void **state)
{
	(void)state;
	expect_refused("$OK#9a", 0, -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_without_an_end_is_given_up),
		cmocka_unit_test(who_only_acknowledges_is_given_up),
		cmocka_unit_test(an_answer_of_somebody_else_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
