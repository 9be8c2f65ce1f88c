/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets of gdb's protocol, sound and damaged. */
#include <stdio.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/guest/gdb_packet.h"

/* The last step that a text brings about that is not KMS_GDB_MORE. */
static enum kms_gdb_packet_step take(struct kms_gdb_packet *packet, const char *text)
{
	enum kms_gdb_packet_step last = KMS_GDB_MORE;

	memset(packet, 0, sizeof(*packet));
	for (; *text; text++) {
		enum kms_gdb_packet_step step = kms_gdb_packet_take(packet, *text);

		if (step != KMS_GDB_MORE)
			last = step;
	}
	return last;
}

static void packets_are_taken_out_of_the_stream(void **state)
{
	static const struct {
		const char *stream;
		enum kms_gdb_packet_step step;
		const char *data;
	} rows[] = {
		{"$OK#9a",         KMS_GDB_COMPLETE, "OK"  },
		{"+++$OK#9a",      KMS_GDB_COMPLETE, "OK"  },
		{"noise$#00",      KMS_GDB_COMPLETE, ""    },
		{"$OK#9A",         KMS_GDB_COMPLETE, "OK"  },
		{"$OK#9b",         KMS_GDB_BAD,      "OK"  },
		{"$OK#zz",         KMS_GDB_BAD,      "OK"  },
		{"$OK#9",          KMS_GDB_MORE,     "OK"  },
		{"$OK",            KMS_GDB_MORE,     "OK"  },
		{"$0* #7a",        KMS_GDB_COMPLETE, "0000"}, /* a run: three more */
		{"$}\x03#80",      KMS_GDB_COMPLETE, "#"   }, /* an escape */
		{"$T02#b6+$OK#9a", KMS_GDB_COMPLETE, "OK"  },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kms_gdb_packet packet;

		assert_int_equal(take(&packet, rows[i].stream), rows[i].step);
		assert_string_equal(packet.data, rows[i].data);
	}
}

static void a_packet_too_long_is_bad(void **state)
{
	static char text[KMS_GDB_PACKET_BYTES + 16];
	struct kms_gdb_packet packet;

	(void)state;
	memset(text, '@', sizeof(text) - 1);
	text[0] = '$';
	(void)snprintf(text + KMS_GDB_PACKET_BYTES + 1, 8, "#%02x",
		       (KMS_GDB_PACKET_BYTES * '@') & 0xff);
	assert_int_equal(take(&packet, text), KMS_GDB_BAD);
	/* and so is one that grows by runs */
	assert_int_equal(take(&packet,
			      "$a*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~"
			      "*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~*~#00"),
			 KMS_GDB_BAD);
}

static void what_is_made_is_taken(void **state)
{
	static const char *const texts[] = {"", "D;1", "m1000,800", "qSupported:multiprocess+"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct kms_gdb_packet packet;
		char framed[64];

		assert_int_equal(kms_gdb_packet_make(texts[i], framed), strlen(texts[i]) + 4);
		assert_int_equal(take(&packet, framed), KMS_GDB_COMPLETE);
		assert_string_equal(packet.data, texts[i]);
	}
}

static void bytes_are_two_digits_each(void **state)
{
	static const char bad[][8] = {"", "0", "012", "0x", "000000", "zz00"};
	uint8_t bytes[2] = {0};
	char text[5];

	(void)state;
	kms_gdb_hex("\x0f\xa5", 2, text);
	assert_string_equal(text, "0fa5");
	assert_true(kms_gdb_unhex("0FA5", bytes, 2));
	assert_memory_equal(bytes, "\x0f\xa5", 2);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(kms_gdb_unhex(bad[i], bytes, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_are_taken_out_of_the_stream),
		cmocka_unit_test(a_packet_too_long_is_bad),
		cmocka_unit_test(what_is_made_is_taken),
		cmocka_unit_test(bytes_are_two_digits_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
