/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers that are unique in the fleet: see fleet.h. Targets and faults are numbered from 1 in each
 * run without gaps, so both directions are arrays.
 */
#include <stdlib.h>

#include "tracer/fleet_impl.h"
#include "tracer/stack_id.h"

static bool grow_local(struct fleet_local_ids *ids, uint32_t local)
{
	uint32_t room = ids->room ? ids->room : 16;
	uint32_t *grown;

	while (room < local)
		room *= 2;
	if (room == ids->room)
		return true;
	grown = reallocarray(ids->global, room, sizeof(*grown));
	if (!grown)
		return false;
	for (uint32_t i = ids->room; i < room; i++)
		grown[i] = 0;
	ids->global = grown;
	ids->room = room;
	return true;
}

static bool grow(struct fleet_ids *ids)
{
	struct fleet_id *grown;

	if (ids->n < ids->room)
		return true;
	grown = reallocarray(ids->item, (size_t)ids->room * 2 + 64, sizeof(*grown));
	if (!grown)
		return false;
	ids->item = grown;
	ids->room = ids->room * 2 + 64;
	return true;
}

uint32_t fleet_id_known(const struct fleet_run *run, enum fleet_id_kind kind, uint32_t local)
{
	const struct fleet_local_ids *ids = &run->ids[kind];

	return local && local <= ids->room ? ids->global[local - 1] : 0;
}

uint32_t fleet_id_of(struct kms_fleet *fleet, struct fleet_run *run, enum fleet_id_kind kind,
		     uint32_t local)
{
	struct fleet_ids *all = &fleet->ids[kind];
	uint32_t known = fleet_id_known(run, kind, local);

	if (known || !local || local > FLEET_LOCAL_MAX)
		return known;
	if (!grow_local(&run->ids[kind], local) || !grow(all))
		return 0;
	all->item[all->n++] = (struct fleet_id){.run = run->number, .local = local};
	run->ids[kind].global[local - 1] = all->n;
	return all->n;
}

bool fleet_id_set(struct fleet_run *run, enum fleet_id_kind kind, uint32_t local, uint32_t id)
{
	if (!local || local > FLEET_LOCAL_MAX || !grow_local(&run->ids[kind], local))
		return false;
	run->ids[kind].global[local - 1] = id;
	return true;
}

uint32_t fleet_id_local(const struct fleet_run *run, enum fleet_id_kind kind, uint32_t id)
{
	const struct fleet_local_ids *ids = &run->ids[kind];

	for (uint32_t i = 0; id && i < ids->room; i++) {
		if (ids->global[i] == id)
			return i + 1;
	}
	return 0;
}

bool fleet_id_find(const struct kms_fleet *fleet, enum fleet_id_kind kind, uint32_t id,
		   struct fleet_id *out)
{
	if (!id || id > fleet->ids[kind].n)
		return false;
	*out = fleet->ids[kind].item[id - 1];
	return true;
}

void fleet_ids_deinit(struct kms_fleet *fleet)
{
	for (unsigned i = 0; i < FLEET_ID_KINDS; i++)
		free(fleet->ids[i].item);
}

void fleet_local_ids_deinit(struct fleet_run *run)
{
	for (unsigned i = 0; i < FLEET_ID_KINDS; i++)
		free(run->ids[i].global);
}

uint64_t fleet_stack(uint32_t run, uint64_t local)
{
	uint32_t image = kms_stack_image(local), node = kms_stack_node(local);

	if (!node || node >> FLEET_NODE_BITS || image >> (FLEET_RUN_SHIFT - FLEET_NODE_BITS))
		return 0;
	return (uint64_t)run << FLEET_RUN_SHIFT | (uint64_t)image << FLEET_NODE_BITS | node;
}

uint64_t fleet_stack_local(uint64_t id)
{
	uint32_t node = (uint32_t)(id & ((1u << FLEET_NODE_BITS) - 1));
	uint32_t image = (uint32_t)(id >> FLEET_NODE_BITS &
				    ((1u << (FLEET_RUN_SHIFT - FLEET_NODE_BITS)) - 1));

	return kms_stack_id(image, node);
}

uint64_t fleet_time(int64_t offset_ns, uint64_t run_ns)
{
	int64_t ns = (int64_t)run_ns + offset_ns;

	if (!run_ns)
		return 0;
	return ns > 0 ? (uint64_t)ns : 1;
}
