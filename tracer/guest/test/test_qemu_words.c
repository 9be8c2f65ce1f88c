/* SPDX-License-Identifier: BSD-2-Clause */
/* QEMU's command line, sizes and names, and what its monitor prints of its memory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/guest/memory_map.h"
#include "tracer/guest/qemu.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* Words in one string, parted by '|', to a block as in /proc/PID/cmdline. */
static int parse(const char *words, struct kms_qemu_options *options)
{
	static char block[8192];
	size_t n = strlen(words);

	assert_true(n < sizeof(block));
	memcpy(block, words, n + 1);
	for (size_t i = 0; i < n; i++) {
		if (block[i] == '|')
			block[i] = '\0';
	}
	return kms_qemu_parse(block, n + 1, options, NULL);
}

static void sizes_are_read_as_qemu_does(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"512",      512 * MIB  },
                {"0",        0          },
		{"1G",       GIB        },
                {"1g",       GIB        },
		{"1.5G",     GIB / 2 * 3},
                {"4194304B", 4 * MIB    },
		{"64k",      64 * KIB   },
                {"0.25M",    256 * KIB  },
		{"2T",       2048 * GIB },
	};

	static const char *const bad[] = {"",
					  "G",
					  "1GB",
					  "-1",
					  "1..5G",
					  "0x10",
					  "1 G",
					  "1Q",
					  "99999999999999999999",
					  "17000000000000000000"};
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(kms_qemu_parse_size(good[i].text, MIB, &bytes), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(kms_qemu_parse_size(bad[i], MIB, &bytes) < 0);
}

static void memory_is_found_in_all_its_spellings(void **state)
{
	static const struct {
		const char *words;
		uint64_t bytes;
	} rows[] = {
		{"qemu",			      128 * MIB                   },
		{"qemu|-m|512",                       512 * MIB                   },
		{"qemu|-m|512M",                      512 * MIB                   },
		{"qemu|--m|1G|-smp|2",                GIB                         },
		{"qemu|-m|size=2G,slots=2,maxmem=8G", 2 * GIB                     },
		{"qemu|-m|64M|-m|96M",                96 * MIB                    },
		{"qemu|-m|1000001B",                  1000001 / 8192 * 8192 + 8192},
		{"qemu|-append|-m|-m|3G",             3 * GIB                     },
		{"qemu|-m",                           128 * MIB                   },
	};
	struct kms_qemu_options options;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(parse(rows[i].words, &options), 0);
		assert_int_equal(options.ram_bytes, rows[i].bytes);
	}
	assert_int_equal(parse("qemu|-m|much", &options), -EINVAL);
	assert_int_equal(parse("qemu|-m|0", &options), -EINVAL);
	assert_int_equal(kms_qemu_parse("", 0, &options, NULL), -EINVAL);
}

static void what_runs_is_found(void **state)
{
	struct kms_qemu_options options;

	(void)state;
	assert_int_equal(
		parse("qemu-system-x86_64|-name|guest=web,process=x|-machine|"
		      "pc-q35-7.2,accel=tcg,memory-backend=ram,max-ram-below-4g=1G|"
		      "-kernel|/boot/vm,linuz|-initrd|i.gz|-append|root=/dev/sda -d,x|"
		      "-object|memory-backend-file,id=ram,size=64M,mem-path=/a,,b,share=on|"
		      "-object|rng-random,id=r|-device|pc-dimm,id=d,memdev=ram",
		      &options),
		0);
	assert_string_equal(options.name, "web");
	assert_string_equal(options.machine, "pc-q35-7.2");
	assert_int_equal(options.max_below, GIB);
	assert_string_equal(options.memory_back_end, "ram");
	assert_string_equal(options.kernel, "/boot/vm,linuz");
	assert_string_equal(options.initrd, "i.gz");
	assert_string_equal(options.append, "root=/dev/sda -d,x");
	assert_int_equal(options.back_ends, 1);
	assert_string_equal(options.back_end[0].kind, "memory-backend-file");
	assert_string_equal(options.back_end[0].id, "ram");
	assert_string_equal(options.back_end[0].path, "/a,b");
	assert_int_equal(options.back_end[0].bytes, 64 * MIB);
	assert_int_equal(options.dimms, 1);
	assert_int_equal(options.numa_nodes, 0);
	assert_string_equal(options.qmp, "");
	assert_string_equal(options.gdb, "");
}

static void json_words_are_read(void **state)
{
	struct kms_qemu_options options;

	(void)state;
	assert_int_equal(
		parse("qemu|-object|{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\","
		      "\"share\":true,\"size\":536870912}|-object|{broken|-numa|"
		      "node,nodeid=0,memdev=a|-numa|node,memdev=b",
		      &options),
		0);
	assert_int_equal(options.back_ends, 1);
	assert_string_equal(options.back_end[0].kind, "memory-backend-memfd");
	assert_string_equal(options.back_end[0].id, "pc.ram");
	assert_int_equal(options.back_end[0].bytes, 512 * MIB);
	assert_int_equal(options.numa_nodes, 2);
}

static void sockets_are_found_in_all_their_spellings(void **state)
{
	static const struct {
		const char *words;
		const char *qmp;
		int fd;
		const char *gdb;
	} rows[] = {
		{"q|-qmp|unix:/run/q,server=on,wait=off",                                             "/run/q",         -1, ""              },
		{"q|-qmp|unix:q.sock,server,nowait|-s",                                               "q.sock",         -1, "localhost:1234"},
		{"q|-qmp-pretty|tcp:127.0.0.1:4444,server=on",                                        "127.0.0.1:4444", -1, ""              },
		{"q|-qmp|tcp::4444,server=on|-gdb|tcp::9000",                                         "localhost:4444", -1,
		 "localhost:9000"													   },
		{"q|-gdb|unix:/g,server=on,wait=off",                                                 "",               -1, "/g"            },
		{"q|-qmp|stdio",								      "",               -1, ""              },
		{"q|-monitor|unix:/m,server",							 "",               -1, ""              },
		{"q|-chardev|socket,id=c,path=/run/c,server=on,wait=off|-mon|chardev=c,mode=control",
		 "/run/c",											      -1, ""              },
		{"q|-mon|c,mode=control,pretty=on|-chardev|socket,id=c,host=::,port=77,server=on",
		 "localhost:77",											-1, ""              },
		{"q|-chardev|socket,id=charmonitor,fd=23,server=on|-mon|"
		 "chardev=charmonitor,id=monitor,mode=control",		      "",               23, ""              },
		{"q|-chardev|socket,id=c,path=/x|-mon|chardev=c,mode=readline",                       "",               -1, ""              },
		{"q|-chardev|socket,id=a,path=/x|-qmp|chardev:a",                                     "/x",             -1, ""              },
		{"q|-qmp|unix:/first|-qmp|unix:/second",                                              "/first",         -1, ""              },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kms_qemu_options options;

		assert_int_equal(parse(rows[i].words, &options), 0);
		assert_string_equal(options.qmp, rows[i].qmp);
		assert_int_equal(options.qmp_fd, rows[i].fd);
		assert_string_equal(options.gdb, rows[i].gdb);
	}
}

static void words_too_long_are_cut(void **state)
{
	static char block[20001];
	static const char words[] = "unix:";
	struct kms_qemu_options options;

	(void)state;
	memset(block, 'k', sizeof(block) - 1); /* without an end */
	memcpy(block, "q\0-kernel", sizeof("q\0-kernel"));
	assert_int_equal(kms_qemu_parse(block, sizeof(block) - 1, &options, NULL), 0);
	assert_int_equal(strlen(options.kernel), PATH_MAX - 1);
	memset(block, 'k', sizeof(block) - 1);
	memcpy(block, "q\0-qmp", sizeof("q\0-qmp"));
	memcpy(block + sizeof("q\0-qmp"), words, sizeof(words) - 1);
	assert_int_equal(kms_qemu_parse(block, sizeof(block) - 1, &options, NULL), 0);
	assert_true(strlen(options.qmp) < sizeof(options.qmp));
}

static void programs_are_told_apart(void **state)
{
	(void)state;
	assert_int_equal(kms_qemu_program_check("qemu-system-x86_64"), 0);
	assert_int_equal(kms_qemu_program_check("qemu-system-x86_64-unsigned"), 0);
	assert_int_equal(kms_qemu_program_check("qemu-system-i386"), 0);
	assert_int_equal(kms_qemu_program_check("qemu-kvm"), 0);
	assert_int_equal(kms_qemu_program_check("qemu-system-aarch64"), -EOPNOTSUPP);
	assert_int_equal(kms_qemu_program_check("qemu-img"), -EINVAL);
	assert_int_equal(kms_qemu_program_check("bash"), -EINVAL);
	assert_int_equal(kms_qemu_program_check(""), -EINVAL);
}

/* As QEMU 7.2 prints it, shortened; a view of ports first, and one of a device behind it. */
static const char mtree[] =
	"FlatView #0\r\n AS \"I/O\", root: io\r\n Root memory region: io\r\n"
	"  0000000000000000-0000000000000007 (prio 0, ram): pc.ram\r\n\r\n"
	"FlatView #1\r\n AS \"memory\", root: system\r\n AS \"cpu-memory-0\", root: system\r\n"
	" Root memory region: system\r\n"
	"  0000000000000000-000000000009ffff (prio 0, ram): pc.ram\r\n"
	"  00000000000a0000-00000000000bffff (prio 1, i/o): vga-lowmem\r\n"
	"  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom\r\n"
	"  00000000000e0000-00000000000fffff (prio 1, rom): pc.bios @0000000000020000\r\n"
	"  0000000000100000-000000007fffffff (prio 0, ram): pc.ram @0000000000100000\r\n"
	"  00000000fd000000-00000000fdffffff (prio 1, ram): vga.vram\r\n"
	"  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n"
	"  0000000100000000-000000017fffffff (prio 0, ram): pc.ram @0000000080000000\r\n"
	"  0000000180000000-000000019fffffff (prio 0, ram): dimm1\r\n"
	"\r\nFlatView #2\r\n AS \"vga\"\r\n"
	"  0000000200000000-00000002ffffffff (prio 0, ram): pc.ram\r\n";

static void the_map_of_memory_is_read(void **state)
{
	static const struct kms_memory_map map = {
		.name = {"pc.ram", "dimm1"},
                  .names = 2
        };
	static const struct kms_guest_segment want[] = {
		{0,       2 * GIB, 0      },
		{4 * GIB, 2 * GIB, 2 * GIB},
		{6 * GIB, GIB / 2, 0      },
	};
	struct kms_guest_layout layout;

	(void)state;
	assert_int_equal(kms_memory_map_parse(&map, mtree, &layout, NULL), 0);
	assert_int_equal(layout.segments, 3);
	assert_memory_equal(layout.segment, want, sizeof(want));
}

static void a_map_without_sense_is_refused(void **state)
{
	static const struct kms_memory_map map = {.name = {"pc.ram"}, .names = 1};
	static const char *const bad[] = {
		"",
		"Error: nothing",
		" AS \"memory\", root: system",
		" AS \"memory\", root: system\n  0-0 (prio 0, ram): pc.ram\n",
		" AS \"memory\", root: system\n  1000-fff (prio 0, ram): pc.ram\n",
		" AS \"memory\", root: system\n  0-ffffffffffffffff (prio 0, ram): pc.ram\n",
		" AS \"memory\", root: system\n  0-fff (prio 0, ram): pc.ram @ffffffffffffffff\n",
		" AS \"memory\", root: system\n  2000-2fff (prio 0, ram): pc.ram\n  0-fff (prio 0, ram): pc.ram\n",
	};
	struct kms_guest_layout layout;
	char many[4096] = " AS \"memory\", root: system\n";
	size_t used = strlen(many);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(kms_memory_map_parse(&map, bad[i], &layout, NULL), -EPROTO);
	for (unsigned i = 0; i <= KMS_GUEST_RANGES; i++)
		used += (size_t)snprintf(many + used, sizeof(many) - used,
					 "  %x00000-%x00fff (prio 0, ram): pc.ram\n", 16 + i,
					 16 + i);
	assert_int_equal(kms_memory_map_parse(&map, many, &layout, NULL), -ENOTSUP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_read_as_qemu_does),
		cmocka_unit_test(memory_is_found_in_all_its_spellings),
		cmocka_unit_test(what_runs_is_found),
		cmocka_unit_test(json_words_are_read),
		cmocka_unit_test(sockets_are_found_in_all_their_spellings),
		cmocka_unit_test(words_too_long_are_cut),
		cmocka_unit_test(programs_are_told_apart),
		cmocka_unit_test(the_map_of_memory_is_read),
		cmocka_unit_test(a_map_without_sense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
