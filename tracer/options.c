/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/options.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/fmt.h"

enum {
	ITEM_BYTES = 128,
	NEAR_NAMES = 3,
	NEAR_DISTANCE = 4,
	NAME_BYTES = 48,
};

#define PREFIX "kmem_"

#define VARIABLE_ROW(id, name_, def_, min_, max_, help_) {name_, def_, min_, max_, help_},

static const struct kms_variable_info infos[KMS_VARIABLE_COUNT] = {KMS_VARIABLES(VARIABLE_ROW)};

const struct kms_variable_info *kms_variable_info(unsigned variable)
{
	return variable < KMS_VARIABLE_COUNT ? &infos[variable] : NULL;
}

static const char *short_name(const char *name)
{
	size_t prefix = sizeof(PREFIX) - 1;

	return strncmp(name, PREFIX, prefix) == 0 ? name + prefix : name;
}

/* Edits that turn one name into the other; both shorter than NAME_BYTES. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[NAME_BYTES + 1];
	size_t n = strlen(b);

	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n; j++) {
			unsigned above = row[j], best = diagonal + (a[i - 1] != b[j - 1]);

			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			diagonal = above;
		}
	}
	return row[n];
}

static void add_near_names(const char *name, struct kms_buf *out)
{
	const char *wanted = short_name(name);
	unsigned far[KMS_VARIABLE_COUNT];
	unsigned found = 0;

	if (strlen(wanted) >= NAME_BYTES)
		return;
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++)
		far[i] = distance(wanted, short_name(infos[i].name));
	for (unsigned limit = 1; limit <= NEAR_DISTANCE && found < NEAR_NAMES; limit++) {
		for (unsigned i = 0; i < KMS_VARIABLE_COUNT && found < NEAR_NAMES; i++) {
			if (far[i] != limit)
				continue;
			kms_buf_addf(out, "%s%s", found ? ", " : "; near: ", infos[i].name);
			found++;
		}
	}
}

/* Nothing is near: all but those of single kinds of fault, which would fill the line. */
static void add_all_names(struct kms_buf *out)
{
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++) {
		if (i <= KMS_VAR_PANIC || i > KMS_VAR_PANIC_RING_CORRUPT)
			kms_buf_addf(out, "%s%s", i ? " " : "; there are ",
				     short_name(infos[i].name));
	}
}

int kms_variable_find(const char *name, unsigned *variable, struct kms_err *err)
{
	struct kms_buf near;

	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++) {
		if (strcmp(short_name(name), short_name(infos[i].name)) == 0) {
			*variable = i;
			return 0;
		}
	}
	kms_buf_init(&near, KMS_ERR_TEXT_BYTES);
	add_near_names(name, &near);
	if (near.used_bytes == 0)
		add_all_names(&near);
	kms_err_set(err, -ENOENT, "unknown variable '%.64s'%s", name, kms_buf_text(&near));
	kms_buf_deinit(&near);
	return -ENOENT;
}

int kms_variable_parse(unsigned variable, const char *text, uint64_t *value, struct kms_err *err)
{
	const struct kms_variable_info *info = kms_variable_info(variable);
	uint64_t v;
	int result;

	if (!info)
		return kms_err_set(err, -ENOENT, "no such variable");
	if (text[0] == '-' && kms_parse_u64(text + 1, &v) == 0)
		return kms_err_set(err, -ERANGE,
				   "%s: %.64s is negative; it takes %" PRIu64 " to %" PRIu64,
				   info->name, text, info->min, info->max);
	result = kms_parse_u64(text, &v);
	if (result == -ERANGE || (result == 0 && (v < info->min || v > info->max)))
		return kms_err_set(err, -ERANGE,
				   "%s: %.64s is out of range; it takes %" PRIu64 " to %" PRIu64,
				   info->name, text, info->min, info->max);
	if (result < 0)
		return kms_err_set(err, -EINVAL,
				   "%s: '%.64s' is no number (decimal or 0x, suffixes K, M, G, T)",
				   info->name, text);
	*value = v;
	return 0;
}

int kms_options_set(struct kms_options *options, const char *assignment, struct kms_err *err)
{
	const char *equal = strchr(assignment, '=');
	char name[ITEM_BYTES];
	unsigned variable;
	uint64_t value = 0;
	int result;

	if (!equal)
		return kms_err_set(err, -EINVAL, "'%.64s' has no value: write NAME=VALUE",
				   assignment);
	if ((size_t)(equal - assignment) >= sizeof(name))
		return kms_err_set(err, -ENOENT, "unknown variable '%.64s...'", assignment);
	memcpy(name, assignment, (size_t)(equal - assignment));
	name[equal - assignment] = '\0';
	result = kms_variable_find(name, &variable, err);
	if (result == 0)
		result = kms_variable_parse(variable, equal + 1, &value, err);
	if (result < 0)
		return result;
	if (variable >= KMS_VAR_VERIFY)
		return kms_err_set(err, -ENOTSUP,
				   "%s is a command for a running program, which comes with "
				   "version 0.2; leave it out",
				   infos[variable].name);
	options->is_set[variable] = true;
	options->value[variable] = value;
	return 0;
}

int kms_options_parse(struct kms_options *options, const char *list, struct kms_err *err)
{
	while (*list) {
		size_t length = strcspn(list, ",");
		char item[ITEM_BYTES];
		int result;

		if (length >= sizeof(item))
			return kms_err_set(err, -E2BIG, "option of %zu bytes: '%.32s...'", length,
					   list);
		memcpy(item, list, length);
		item[length] = '\0';
		result = length ? kms_options_set(options, item, err) : 0;
		if (result < 0)
			return result;
		list += length + (list[length] == ',');
	}
	return 0;
}

void kms_options_format(const struct kms_options *options, struct kms_buf *out)
{
	bool first = true;

	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++) {
		if (!options->is_set[i])
			continue;
		kms_buf_addf(out, "%s%s=%" PRIu64, first ? "" : ",", short_name(infos[i].name),
			     options->value[i]);
		first = false;
	}
}
