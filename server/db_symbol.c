/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names with an address, and addresses with a name: the variables of our allocator, which have addresses
 * of their own, and the symbols of a guest's kernel.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/near.h"
#include "server/db.h"

enum {
	MODULE_BYTES = 5,   /* "kmem:" */
	NEAR_EDITS = 3,     /* a name that differs by more is another name */
	ADDRESS_DIGITS = 8, /* hexadecimal digits, and so many of them: no name is meant */
};

uint32_t kms_ddb_kernel(const struct kms_ddb *db)
{
	const struct kms_view_target *target;
	long index = -1;

	if (!db->view->ops->symbol || !db->view->ops->symbol_at || db->snapshot->finished)
		return 0;
	target = kms_ddb_next_target(db, &index);
	return target && target->kind == KMS_TARGET_GUEST ? target->id : 0;
}

static bool variable_address(const char *name, uint64_t *address)
{
	const struct kms_ddb_variable *variable;

	for (unsigned int i = 0; (variable = kms_ddb_variable(i)); i++) {
		if (strcmp(variable->name, name) != 0)
			continue;
		*address = KMS_DDB_VARIABLE_BASE + (uint64_t)i * KMS_DDB_VARIABLE_STRIDE;
		return true;
	}
	return false;
}

static bool is_address(const char *name)
{
	uint64_t number;

	return strlen(name) >= ADDRESS_DIGITS && kms_ddb_lex_hex(name, &number);
}

/* The kernel's; where it has none, @near is what it has. */
static bool kernel_address(const struct kms_ddb *db, const char *name, uint64_t *address,
			   char near[KMS_VIEW_SYMBOL_BYTES])
{
	const struct kms_view *view = db->view;
	uint32_t kernel = is_address(name) ? 0 : kms_ddb_kernel(db);
	struct kms_view_symbol symbol = {.address = 0};
	int result;

	if (!kernel)
		return false;
	result = view->ops->symbol(view->ctx, kernel, name, &symbol, NULL);
	*address = symbol.address;
	memcpy(near, symbol.name, sizeof(symbol.name));
	return result == 0;
}

bool kms_ddb_symbol(const struct kms_ddb *db, const char *name, uint64_t *address,
		    char near[KMS_VIEW_SYMBOL_BYTES])
{
	bool is_ours = strncmp(name, "kmem:", MODULE_BYTES) == 0;

	near[0] = '\0';
	if (is_ours)
		return variable_address(name + MODULE_BYTES, address);
	/* a kernel that is not ours may have a variable of the same name */
	if (!db->view->ops->variable_get && kernel_address(db, name, address, near))
		return true;
	if (variable_address(name, address))
		return true;
	return db->view->ops->variable_get && kernel_address(db, name, address, near);
}

const char *kms_ddb_nearest(const char *name, const char *other)
{
	const struct kms_ddb_variable *variable;
	const char *best = NULL;
	size_t best_edits = NEAR_EDITS + 1;
	size_t n;

	for (unsigned int i = 0; (variable = kms_ddb_variable(i)); i++) {
		n = kms_near_distance(name, variable->name, NEAR_EDITS);
		if (strncmp(variable->name, "kmem_", MODULE_BYTES) == 0 &&
		    strcmp(variable->name + MODULE_BYTES, name) == 0)
			n = 0;
		if (n < best_edits) {
			best = variable->name;
			best_edits = n;
		}
	}
	if (other[0] && (!best || kms_near_distance(name, other, NEAR_EDITS) < best_edits))
		return other;
	return best;
}

/* "jiffies+0x4"; false: the kernel has no name near there. */
static bool kernel_place(const struct kms_ddb *db, uint64_t address, struct kms_ddb_text *out)
{
	const struct kms_view *view = db->view;
	uint32_t kernel = kms_ddb_kernel(db);
	struct kms_view_symbol symbol;
	char shown[KMS_VIEW_SYMBOL_BYTES];

	if (!kernel || view->ops->symbol_at(view->ctx, kernel, address, &symbol, NULL) ||
	    symbol.offset > db->state->var[KMS_DDB_MAXOFF])
		return false;
	kms_ddb_printable(symbol.name, shown, sizeof(shown));
	if (symbol.offset)
		snprintf(out->text, sizeof(out->text), "%.48s+0x%" PRIx64, shown, symbol.offset);
	else
		snprintf(out->text, sizeof(out->text), "%.70s", shown);
	return true;
}

struct kms_ddb_text kms_ddb_place(const struct kms_ddb *db, uint64_t address)
{
	struct kms_ddb_text out;
	uint64_t offset = 0;
	const struct kms_ddb_variable *variable = kms_ddb_variable_at(address, &offset);

	if (!variable && kernel_place(db, address, &out))
		return out;
	if (!variable || offset > db->state->var[KMS_DDB_MAXOFF])
		return kms_ddb_number(db, address);
	if (offset)
		snprintf(out.text, sizeof(out.text), "kmem:%.38s+0x%" PRIx64, variable->name,
			 offset);
	else
		snprintf(out.text, sizeof(out.text), "kmem:%.50s", variable->name);
	return out;
}
