/* SPDX-License-Identifier: BSD-2-Clause */
/* How guests and their sockets are named. */
#include <errno.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/guest/target.h"

static void targets_are_read(void **state)
{
	static const struct {
		const char *text;
		enum kms_guest_target_kind kind;
		pid_t pid;
		uint64_t offset;
		const char *path;
	} good[] = {
		{"qemu:pid:1",          KMS_GUEST_TARGET_PID, 1,          0,    ""              },
		{"qemu:pid:2147483647", KMS_GUEST_TARGET_PID, 2147483647, 0,    ""              },
		{"qemu:/run/q.sock",    KMS_GUEST_TARGET_QMP, 0,          0,    "/run/q.sock"   },
		{"qemu:localhost:4444", KMS_GUEST_TARGET_QMP, 0,          0,    "localhost:4444"},
		{"qemu:pid",            KMS_GUEST_TARGET_QMP, 0,          0,    "pid"           },
		{"ram:/dev/shm/ram",    KMS_GUEST_TARGET_RAM, 0,          0,    "/dev/shm/ram"  },
		{"ram:ram+0x1000",      KMS_GUEST_TARGET_RAM, 0,          4096, "ram"           },
		{"ram:a+b+4K",          KMS_GUEST_TARGET_RAM, 0,          4096, "a+b"           },
		{"ram:a+b",             KMS_GUEST_TARGET_RAM, 0,          0,    "a+b"           },
		{"ram:a+1+0",           KMS_GUEST_TARGET_RAM, 0,          0,    "a+1"           },
		{"gdb:/tmp/g",          KMS_GUEST_TARGET_GDB, 0,          0,    "/tmp/g"        },
		{"gdb::1234",           KMS_GUEST_TARGET_GDB, 0,          0,    ":1234"         },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct kms_guest_target target;

		assert_true(kms_guest_target_is(good[i].text));
		assert_int_equal(kms_guest_target_parse(good[i].text, &target, NULL), 0);
		assert_int_equal(target.kind, good[i].kind);
		assert_int_equal(target.pid, good[i].pid);
		assert_int_equal(target.offset, good[i].offset);
		assert_string_equal(target.path, good[i].path);
	}
}

static void what_is_no_target_is_refused(void **state)
{
	static const struct {
		const char *text;
		int result;
	} bad[] = {
		{"",			      -EINVAL},
		{"pid:1",                         -EINVAL},
		{"qemu",			  -EINVAL},
		{"qemu:",                         -EINVAL},
		{"qemu:pid:",                     -EINVAL},
		{"qemu:pid:0",                    -EINVAL},
		{"qemu:pid:-1",                   -EINVAL},
		{"qemu:pid:1x",                   -EINVAL},
		{"qemu:pid:0x10",                 -EINVAL},
		{"qemu:pid:1K",                   -EINVAL},
		{"qemu:pid:2147483648",           -ERANGE},
		{"qemu:pid:99999999999999999999", -ERANGE},
		{"ram:",			  -EINVAL},
		{"ram:+4096",                     -EINVAL},
		{"ram:f+0x8000000000000000",      -ERANGE},
		{"ram:f+99999999999999999999",    -ERANGE},
		{"gdb:",			  -EINVAL},
	};

	char text[PATH_MAX + 16] = "ram:/";

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct kms_guest_target target;
		struct kms_err err = KMS_ERR_INIT;

		assert_int_equal(kms_guest_target_parse(bad[i].text, &target, &err), bad[i].result);
		assert_int_equal(err.code, bad[i].result);
	}
	assert_false(kms_guest_target_is("pid:12"));
	assert_false(kms_guest_target_is("qemux:12"));
	memset(text + 5, 'x', PATH_MAX);
	{
		struct kms_guest_target target;

		assert_int_equal(kms_guest_target_parse(text, &target, NULL), -ENAMETOOLONG);
	}
}

static void addresses_are_hosts_with_ports_or_paths(void **state)
{
	static const struct {
		const char *text;
		const char *host; /* NULL: a path */
		unsigned port;
	} rows[] = {
		{"localhost:1234",  "localhost", 1234 },
		{":1234",           "localhost", 1234 },
		{"127.0.0.1:1",     "127.0.0.1", 1    },
		{"[::1]:65535",     "::1",       65535},
		{"localhost:0",     NULL,        0    },
		{"localhost:65536", NULL,        0    },
		{"localhost:1x",    NULL,        0    },
		{"localhost:0x10",  NULL,        0    },
		{"::1:80",          NULL,        0    },
		{"./a:80",          NULL,        0    },
		{"/tmp/a:80",       NULL,        0    },
		{"file",            NULL,        0    },
		{"",                NULL,        0    },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char host[16];
		unsigned port = 0;

		assert_int_equal(kms_guest_address_split(rows[i].text, host, sizeof(host), &port),
				 rows[i].host != NULL);
		if (!rows[i].host)
			continue;
		assert_string_equal(host, rows[i].host);
		assert_int_equal(port, rows[i].port);
	}
}

static void a_host_too_long_for_its_room_is_none(void **state)
{
	char host[9];
	unsigned port;

	(void)state;
	assert_true(kms_guest_address_split("12345678:1", host, sizeof(host), &port));
	assert_string_equal(host, "12345678");
	assert_false(kms_guest_address_split("123456789:1", host, sizeof(host), &port));
	assert_false(kms_guest_address_split(":1", host, sizeof(host), &port));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_are_read),
		cmocka_unit_test(what_is_no_target_is_refused),
		cmocka_unit_test(addresses_are_hosts_with_ports_or_paths),
		cmocka_unit_test(a_host_too_long_for_its_room_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
