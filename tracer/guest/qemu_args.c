/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * QEMU's command line: see qemu.h.
 *
 * An option's value is a list of KEY=VALUE, parted by commas; a comma in a value is written twice.
 * The first entry may be a value alone, whose key hangs on the option. Or the whole is an object in
 * JSON, as libvirt writes it. (QEMU's manual page.)
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fmt.h"
#include "tracer/guest/qemu.h"
#include "tracer/guest/qemu_args.h"

#define MIB (UINT64_C(1) << 20)

enum {
	CHARDEVS = 16,
};

/* A -chardev socket, which a -mon may name later or before. */
struct chardev {
	char id[KMS_QEMU_WORD_BYTES];
	char address[KMS_QEMU_ADDRESS_BYTES];
	int fd;
};

/* Reading a command line. */
struct parse {
	struct kms_qemu_options *out;
	struct chardev chardev[CHARDEVS];
	unsigned chardevs;
	char control[KMS_QEMU_WORD_BYTES]; /* chardev of the QMP monitor */
	bool is_bad_size;
};

void kms_qemu_copy(char *to, size_t bytes, const char *from)
{
	size_t length = strnlen(from, bytes - 1);

	memcpy(to, from, length);
	to[length] = '\0';
}

/* Digits behind a point, as a part of the unit; *text moves behind them. */
static uint64_t parse_fraction(const char **text, uint64_t unit)
{
	double sum = 0, digit = 1;

	for (; **text >= '0' && **text <= '9'; (*text)++) {
		digit /= 10;
		sum += digit * (**text - '0');
	}
	return (uint64_t)(sum * (double)unit);
}

static uint64_t unit_of(char letter)
{
	static const char letters[] = "BKMGTPE";
	char upper = (char)(letter >= 'a' ? letter - 'a' + 'A' : letter);
	const char *at = letter ? strchr(letters, upper) : NULL;

	return at ? UINT64_C(1) << (10 * (at - letters)) : 0;
}

int kms_qemu_parse_size(const char *text, uint64_t default_unit, uint64_t *bytes)
{
	size_t digits = strspn(text, "0123456789");
	const char *rest = text + digits;
	size_t fraction = rest[0] == '.' ? 1 + strspn(rest + 1, "0123456789") : 0;
	char letter = rest[fraction];
	uint64_t unit = letter ? unit_of(letter) : default_unit;
	uint64_t whole = 0;

	if (digits == 0 || digits > 19 || unit == 0 || (letter && rest[fraction + 1]))
		return -EINVAL;
	for (size_t i = 0; i < digits; i++)
		whole = whole * 10 + (uint64_t)(text[i] - '0');
	if (fraction)
		rest++;
	if (__builtin_mul_overflow(whole, unit, &whole) ||
	    __builtin_add_overflow(whole, parse_fraction(&rest, unit), bytes))
		return -ERANGE;
	return 0;
}

/*
 * Takes the next entry of a list into text (cut), and returns what follows; *value points behind the
 * equal sign or is NULL. NULL: there is none.
 */
static const char *next_entry(const char *list, char *text, size_t bytes, char **value)
{
	size_t used = 0;

	if (!list || !*list)
		return NULL;
	for (; *list; list++) {
		if (*list == ',' && *++list != ',')
			break; /* one comma ends the entry, two are one */
		if (used < bytes - 1)
			text[used++] = *list;
	}
	text[used] = '\0';
	*value = strchr(text, '=');
	if (*value)
		*(*value)++ = '\0';
	return list;
}

static bool parse_ram_size(struct parse *parse, const char *text)
{
	uint64_t bytes;

	if (kms_qemu_parse_size(text, MIB, &bytes) || bytes == 0 || bytes > INT64_MAX) {
		parse->is_bad_size = true;
		return false;
	}
	/* QEMU rounds up to 8 KiB */
	parse->out->ram_bytes = (bytes + 8191) / 8192 * 8192;
	return true;
}

/* Writes down KEY=VALUE of an option; value NULL: alone, the key of the first entry that has none is "". */
typedef void take_fn(void *arg, const char *key, const char *value);

/* -object '{"qom-type":"memory-backend-ram","id":...}': numbers are exact up to 2^53, sizes of RAM, too. */
static void each_json_entry(const char *text, take_fn *take, void *arg)
{
	cJSON *object = cJSON_Parse(text);
	const cJSON *item;
	char number[32];

	cJSON_ArrayForEach(item, object)
	{
		if (!item->string)
			continue;
		if (cJSON_IsString(item)) {
			take(arg, item->string, item->valuestring);
		} else if (cJSON_IsNumber(item) && item->valuedouble >= 0 &&
			   item->valuedouble < 0x1p53) {
			(void)snprintf(number, sizeof(number), "%.0f",
				       item->valuedouble); /* fits */
			take(arg, item->string, number);
		}
	}
	cJSON_Delete(object);
}

static void each_entry(const char *list, take_fn *take, void *arg)
{
	char text[PATH_MAX];
	char *value;
	bool is_first = true;

	if (*list == '{') {
		each_json_entry(list, take, arg);
		return;
	}
	while ((list = next_entry(list, text, sizeof(text), &value)) != NULL) {
		if (!value && is_first)
			take(arg, "", text);
		else
			take(arg, text, value ? value : "on");
		is_first = false;
	}
}

static bool is_key(const char *key, const char *name)
{
	return strcmp(key, name) == 0;
}

static void take_machine(void *arg, const char *key, const char *value)
{
	struct parse *parse = arg;
	struct kms_qemu_options *out = parse->out;

	if (is_key(key, "") || is_key(key, "type"))
		kms_qemu_copy(out->machine, sizeof(out->machine), value);
	else if (is_key(key, "max-ram-below-4g"))
		(void)kms_qemu_parse_size(value, 1, &out->max_below); /* stays 0 */
	else if (is_key(key, "memory-backend"))
		kms_qemu_copy(out->memory_back_end, sizeof(out->memory_back_end), value);
}

static void take_memory(void *arg, const char *key, const char *value)
{
	if (is_key(key, "") || is_key(key, "size"))
		(void)parse_ram_size(arg, value); /* said at the end */
}

static void take_name(void *arg, const char *key, const char *value)
{
	struct parse *parse = arg;

	if (is_key(key, "") || is_key(key, "guest"))
		kms_qemu_copy(parse->out->name, sizeof(parse->out->name), value);
}

static void take_numa(void *arg, const char *key, const char *value)
{
	struct parse *parse = arg;

	(void)value;
	if (is_key(key, "memdev"))
		parse->out->numa_nodes++;
}

static void take_device(void *arg, const char *key, const char *value)
{
	struct parse *parse = arg;

	if ((is_key(key, "") || is_key(key, "driver")) &&
	    (is_key(value, "pc-dimm") || is_key(value, "nvdimm") ||
	     strncmp(value, "virtio-mem", 10) == 0))
		parse->out->dimms++;
}

void kms_qemu_take_object(struct kms_qemu_back_end *object, const char *key, const char *value)
{
	if (is_key(key, "") || is_key(key, "qom-type"))
		kms_qemu_copy(object->kind, sizeof(object->kind), value);
	else if (is_key(key, "id"))
		kms_qemu_copy(object->id, sizeof(object->id), value);
	else if (is_key(key, "mem-path"))
		kms_qemu_copy(object->path, sizeof(object->path), value);
	else if (is_key(key, "size"))
		(void)kms_qemu_parse_size(value, 1, &object->bytes); /* stays 0 */
}

static void take_object_entry(void *arg, const char *key, const char *value)
{
	kms_qemu_take_object(arg, key, value);
}

static void take_object(struct parse *parse, const char *value)
{
	struct kms_qemu_options *out = parse->out;
	struct kms_qemu_back_end *object = &out->back_end[out->back_ends];

	if (out->back_ends == KMS_QEMU_BACK_ENDS)
		return;
	memset(object, 0, sizeof(*object));
	each_entry(value, take_object_entry, object);
	if (strncmp(object->kind, "memory-backend-", 15) == 0)
		out->back_ends++;
}

/* Address of a socket that QEMU listens on, from the entries of a -chardev. */
struct address {
	char id[KMS_QEMU_WORD_BYTES];
	char path[KMS_QEMU_ADDRESS_BYTES];
	char host[KMS_QEMU_ADDRESS_BYTES];
	char port[KMS_QEMU_WORD_BYTES];
	int fd;
	bool is_socket;
};

static void take_chardev_entry(void *arg, const char *key, const char *value)
{
	struct address *address = arg;
	uint64_t fd;

	if (is_key(key, "") || is_key(key, "backend"))
		address->is_socket = is_key(value, "socket");
	else if (is_key(key, "id"))
		kms_qemu_copy(address->id, sizeof(address->id), value);
	else if (is_key(key, "path"))
		kms_qemu_copy(address->path, sizeof(address->path), value);
	else if (is_key(key, "host"))
		kms_qemu_copy(address->host, sizeof(address->host), value);
	else if (is_key(key, "port"))
		kms_qemu_copy(address->port, sizeof(address->port), value);
	else if (is_key(key, "fd") && kms_parse_u64(value, &fd) == 0 && fd <= INT_MAX)
		address->fd = (int)fd;
}

/* Whether "localhost" is meant: no host, or any of this machine. */
static bool is_any_host(const char *host)
{
	return !*host || is_key(host, "0.0.0.0") || is_key(host, "::") || is_key(host, "[::]");
}

static void join_address(char *to, size_t bytes, const char *host, const char *port)
{
	int n = snprintf(to, bytes, "%s:%s", is_any_host(host) ? "localhost" : host, port);

	/* half an address is none */
	if (!*port || n < 0 || (size_t)n >= bytes)
		to[0] = '\0';
}

static void take_chardev(struct parse *parse, const char *value)
{
	struct address address = {.fd = -1};
	struct chardev *chardev = &parse->chardev[parse->chardevs];

	if (parse->chardevs == CHARDEVS)
		return;
	each_entry(value, take_chardev_entry, &address);
	if (!address.is_socket || !*address.id)
		return;
	memset(chardev, 0, sizeof(*chardev));
	kms_qemu_copy(chardev->id, sizeof(chardev->id), address.id);
	chardev->fd = address.fd;
	if (*address.path)
		kms_qemu_copy(chardev->address, sizeof(chardev->address), address.path);
	else
		join_address(chardev->address, sizeof(chardev->address), address.host,
			     address.port);
	parse->chardevs++;
}

/* A -mon. */
struct monitor {
	char chardev[KMS_QEMU_WORD_BYTES];
	bool is_control;
};

static void take_monitor_entry(void *arg, const char *key, const char *value)
{
	struct monitor *monitor = arg;

	if (is_key(key, "") || is_key(key, "chardev"))
		kms_qemu_copy(monitor->chardev, sizeof(monitor->chardev), value);
	else if (is_key(key, "mode"))
		monitor->is_control = is_key(value, "control");
}

static void take_monitor(struct parse *parse, const char *value)
{
	struct monitor monitor = {0};

	each_entry(value, take_monitor_entry, &monitor);
	if (monitor.is_control && !*parse->control)
		kms_qemu_copy(parse->control, sizeof(parse->control), monitor.chardev);
}

/* The short form: "unix:PATH,server=on", "tcp:HOST:PORT,server=on", "chardev:ID". */
static void take_short(struct parse *parse, const char *value, char address[KMS_QEMU_ADDRESS_BYTES])
{
	char first[KMS_QEMU_ADDRESS_BYTES], *colon, *unused;

	if (!next_entry(value, first, sizeof(first), &unused) || unused)
		return;
	if (strncmp(first, "unix:", 5) == 0) {
		kms_qemu_copy(address, KMS_QEMU_ADDRESS_BYTES, first + 5);
	} else if (strncmp(first, "tcp:", 4) == 0 && (colon = strrchr(first + 4, ':')) != NULL) {
		*colon = '\0';
		join_address(address, KMS_QEMU_ADDRESS_BYTES, first + 4, colon + 1);
	} else if (strncmp(first, "chardev:", 8) == 0 && address == parse->out->qmp) {
		kms_qemu_copy(parse->control, sizeof(parse->control), first + 8);
	}
}

static void take_qmp(struct parse *parse, const char *value)
{
	if (!*parse->out->qmp)
		take_short(parse, value, parse->out->qmp);
}

static void take_gdb(struct parse *parse, const char *value)
{
	take_short(parse, value, parse->out->gdb);
}

static void take_machine_option(struct parse *parse, const char *value)
{
	each_entry(value, take_machine, parse);
}

static void take_memory_option(struct parse *parse, const char *value)
{
	each_entry(value, take_memory, parse);
}

static void take_name_option(struct parse *parse, const char *value)
{
	each_entry(value, take_name, parse);
}

static void take_numa_option(struct parse *parse, const char *value)
{
	each_entry(value, take_numa, parse);
}

static void take_device_option(struct parse *parse, const char *value)
{
	each_entry(value, take_device, parse);
}

static void take_kernel(struct parse *parse, const char *value)
{
	kms_qemu_copy(parse->out->kernel, sizeof(parse->out->kernel), value);
}

static void take_initrd(struct parse *parse, const char *value)
{
	kms_qemu_copy(parse->out->initrd, sizeof(parse->out->initrd), value);
}

static void take_append(struct parse *parse, const char *value)
{
	kms_qemu_copy(parse->out->append, sizeof(parse->out->append), value);
}

static const struct {
	const char *name;
	void (*take)(struct parse *parse, const char *value);
} options_known[] = {
	{"M",          take_machine_option},
        {"machine",    take_machine_option},
	{"m",          take_memory_option },
        {"name",       take_name_option   },
	{"numa",       take_numa_option   },
        {"device",     take_device_option },
	{"object",     take_object        },
        {"chardev",    take_chardev       },
	{"mon",        take_monitor       },
        {"qmp",        take_qmp           },
	{"qmp-pretty", take_qmp           },
        {"gdb",        take_gdb           },
	{"kernel",     take_kernel        },
        {"initrd",     take_initrd        },
	{"append",     take_append        },
};

/* The word behind a known option is its value, whatever it begins with. Returns whether it was taken. */
static bool take_option(struct parse *parse, const char *word, const char *value)
{
	const char *name = word + (word[1] == '-' ? 2 : 1);

	if (is_key(name, "s"))
		kms_qemu_copy(parse->out->gdb, sizeof(parse->out->gdb), "localhost:1234");
	for (size_t i = 0; value && i < sizeof(options_known) / sizeof(options_known[0]); i++) {
		if (is_key(name, options_known[i].name)) {
			options_known[i].take(parse, value);
			return true;
		}
	}
	return false;
}

/* The word behind this one, or NULL. */
static const char *next_word(const char *word, const char *end)
{
	word += strlen(word) + 1;
	return word < end ? word : NULL;
}

static void find_control(struct parse *parse)
{
	for (unsigned i = 0; i < parse->chardevs && !*parse->out->qmp; i++) {
		if (!is_key(parse->chardev[i].id, parse->control))
			continue;
		kms_qemu_copy(parse->out->qmp, sizeof(parse->out->qmp), parse->chardev[i].address);
		parse->out->qmp_fd = parse->chardev[i].fd;
	}
}

int kms_qemu_parse(const char *block, size_t n_bytes, struct kms_qemu_options *options,
		   struct kms_err *err)
{
	struct parse parse = {.out = options};
	const char *word;

	memset(options, 0, sizeof(*options));
	options->qmp_fd = -1;
	options->ram_bytes = 128 * MIB; /* of a pc, without -m */
	if (n_bytes == 0)
		return kms_err_set(err, -EINVAL, "a command line without words");
	word = next_word(block, block + n_bytes);
	while (word) {
		const char *value = next_word(word, block + n_bytes);

		if (word[0] == '-' && take_option(&parse, word, value))
			value = next_word(value, block + n_bytes);
		word = value;
	}
	find_control(&parse);
	return parse.is_bad_size ? kms_err_set(err, -EINVAL, "its memory has no size that is one")
				 : 0;
}
