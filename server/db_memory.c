/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading memory for the prompt: a target's, by pages that are kept for the line; and variables, which have addresses of their own. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "server/db.h"

static void fault(struct kms_ddb *db, uint64_t address, const char *why)
{
	kms_ddb_fail(db, "Faulted in DDB; continuing...: %s: %s", kms_ddb_number(db, address).text,
		     why);
}

/* The page that holds @address, as much of it as is there. */
static bool load_page(struct kms_ddb *db, uint32_t target, uint64_t address)
{
	const struct kms_view *view = db->view;
	struct kms_ddb_page *page = &db->page;
	uint64_t base = address & ~(uint64_t)(KMS_DDB_PAGE_BYTES - 1);
	struct kms_err err = KMS_ERR_INIT;
	char why[KMS_ERR_TEXT_BYTES];
	int ret;

	if (page->valid && page->base == base && page->target == target)
		return true;
	page->valid = false;
	if (db->snapshot->finished || !view->ops->memory) {
		fault(db, address,
		      db->snapshot->finished
			      ? "a trace file holds no memory; x works while the program runs"
			      : "this session cannot read its targets' memory");
		return false;
	}
	page->n = 0;
	ret = view->ops->memory(view->ctx, target, base, page->bytes, KMS_DDB_PAGE_BYTES, &page->n,
				&err);
	if (ret < 0) {
		fault(db, address,
		      ret == -EFAULT ? "the target has no memory there"
				     : kms_ddb_printable(err.text, why, sizeof(why)));
		return false;
	}
	if (page->n > KMS_DDB_PAGE_BYTES)
		page->n = 0;
	page->base = base;
	page->target = target;
	page->valid = true;
	return true;
}

static bool read_byte(struct kms_ddb *db, uint32_t target, uint64_t address, uint8_t *byte)
{
	if (!load_page(db, target, address))
		return false;
	if (address - db->page.base >= db->page.n) {
		fault(db, address, "the target has no memory there");
		return false;
	}
	*byte = db->page.bytes[address - db->page.base];
	return true;
}

/* The value in effect as memory would have it; what lies between variables is not there. */
static bool read_variable(struct kms_ddb *db, const struct kms_ddb_variable *v, uint64_t offset,
			  unsigned int size, uint64_t *value)
{
	const struct kms_view *view = db->view;
	struct kms_err err = KMS_ERR_INIT;
	uint64_t requested = 0;
	uint64_t effective = 0;
	uint32_t target;
	bool pending;

	if (offset + size > sizeof(uint64_t)) {
		fault(db,
		      KMS_DDB_VARIABLE_BASE + (uint64_t)v->index * KMS_DDB_VARIABLE_STRIDE + offset,
		      "no variable is there");
		return false;
	}
	if (db->snapshot->finished || !view->ops->variable_get) {
		kms_ddb_fail(
			db, "%s: %s", v->name,
			db->snapshot->finished
				? "this is a finished trace; it has a value while the program runs"
				: "the guest's kernel has no such variable");
		return false;
	}
	if (!kms_ddb_one_target(db, &target))
		return false;
	if (view->ops->variable_get(view->ctx, target, v->index, &requested, &effective, &pending,
				    &err) < 0) {
		kms_ddb_fail_err(db, v->name, &err);
		return false;
	}
	*value = effective >> (8 * offset);
	return true;
}

bool kms_ddb_read(struct kms_ddb *db, uint64_t address, unsigned int size, uint64_t *value)
{
	uint64_t offset;
	const struct kms_ddb_variable *variable = kms_ddb_variable_at(address, &offset);
	uint32_t target;
	uint8_t byte;

	*value = 0;
	if (variable) {
		if (!read_variable(db, variable, offset, size, value))
			return false;
	} else {
		if (!kms_ddb_one_target(db, &target))
			return false;
		for (unsigned int i = 0; i < size; i++) {
			if (!read_byte(db, target, address + i, &byte))
				return false;
			*value |= (uint64_t)byte << (8 * i);
		}
	}
	if (size < sizeof(*value))
		*value &= (UINT64_C(1) << (8 * size)) - 1;
	return true;
}
