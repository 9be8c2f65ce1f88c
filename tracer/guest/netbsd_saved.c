/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Places of a build's members, kept by build id: a second attach need not read 100 MB of DWARF. The file
 * is checked as if it came from a stranger; what does not fit is as if not there.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/io.h"
#include "tracer/guest/netbsd_image.h"

static const char magic[8] = "kmsnbsd";

/* Numbers of this machine: the file is of no use elsewhere. */
struct kept {
	char magic[8];
	uint64_t version; /* of the tables */
	uint64_t check;   /* hash of what follows */
	uint8_t build_id[KMS_SYMBOLS_BUILD_ID_BYTES];
	uint32_t struct_bytes[KMS_TYPES_STRUCTS];
	struct kms_types_place place[KMS_TYPES_MEMBERS];
};

static uint64_t check_of(const struct kept *kept)
{
	size_t head = offsetof(struct kept, build_id);

	return kms_hash_bytes((const char *)kept + head, sizeof(*kept) - head, kept->version);
}

static int path_of(char *path, size_t room, const char *folder,
		   const struct kms_types_answer *answer)
{
	int n = snprintf(path, room, "%s/netbsd-", folder);

	for (uint32_t i = 0; i < answer->build_id_bytes && n > 0 && (size_t)n < room; i++)
		n += snprintf(path + n, room - (size_t)n, "%02x", answer->build_id[i]);
	return n > 0 && (size_t)n < room ? 0 : -ENAMETOOLONG;
}

int kms_netbsd_saved_load(const char *folder, const struct kms_types_question *question,
			  const struct kms_types_answer *about, struct kms_types_answer *answer,
			  struct kms_err *err)
{
	KMS_AUTO_FREE char *text = NULL;
	struct kms_types_answer merged = *about;
	struct kept kept;
	char path[PATH_MAX];
	size_t n;
	int rc = path_of(path, sizeof(path), folder, about);

	if (!rc)
		rc = kms_read_file(path, sizeof(kept), &text, &n, err);
	if (rc)
		return rc;
	if (n != sizeof(kept))
		return kms_err_set(err, -EBADMSG, "kept places: the file is too short");
	memcpy(&kept, text, sizeof(kept));
	if (memcmp(kept.magic, magic, sizeof(magic)) != 0 ||
	    kept.version != kms_netbsd_layout_version() || kept.check != check_of(&kept) ||
	    memcmp(kept.build_id, about->build_id, sizeof(kept.build_id)) != 0)
		return kms_err_set(err, -EBADMSG, "kept places: damaged, or of another version");
	memcpy(merged.struct_bytes, kept.struct_bytes, sizeof(kept.struct_bytes));
	memcpy(merged.place, kept.place, sizeof(kept.place));
	rc = kms_types_check(question, &merged, err);
	if (!rc)
		*answer = merged;
	return rc;
}

int kms_netbsd_saved_store(const char *folder, const struct kms_types_answer *answer,
			   struct kms_err *err)
{
	struct kept kept;
	char path[PATH_MAX];
	int rc = path_of(path, sizeof(path), folder, answer);

	if (!rc)
		rc = kms_mkdir_private(folder, err);
	if (rc)
		return rc;
	memset(&kept, 0, sizeof(kept));
	memcpy(kept.magic, magic, sizeof(magic));
	kept.version = kms_netbsd_layout_version();
	memcpy(kept.build_id, answer->build_id, sizeof(kept.build_id));
	memcpy(kept.struct_bytes, answer->struct_bytes, sizeof(kept.struct_bytes));
	memcpy(kept.place, answer->place, sizeof(kept.place));
	kept.check = check_of(&kept);
	return kms_replace_file(path, &kept, sizeof(kept), err);
}
