/* SPDX-License-Identifier: BSD-2-Clause */
/* A NetBSD kernel's file, and whether it is what a guest runs: see netbsd_image.h. */
#include "tracer/guest/netbsd_image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"

enum {
	PAGE_BYTES = 4096,
	SAMPLES = 64, /* pages of constants that are compared; a kernel has 500 to 3,000 */
};

/* KERNBASE is at 0 there: what NetBSD's boot loaders do with addresses that the file gives as they are
 * (LOADADDR of the machines' loadfile_machdep.h) */
static const uint64_t load_mask = 0x0fffffff;

int kms_netbsd_image_physical(const struct kms_netbsd_image *image, uint64_t address,
			      uint64_t bytes, uint64_t *physical)
{
	for (uint32_t i = 0; i < image->types.n_segments; i++) {
		const struct kms_types_segment *segment = &image->types.segment[i];
		uint64_t offset = address - segment->address;

		if (offset >= segment->memory_bytes || bytes > segment->memory_bytes - offset)
			continue;
		*physical = segment->physical == segment->address ? address & load_mask
								  : segment->physical + offset;
		return 0;
	}
	return -ENOENT;
}

/* Contents of the file at an address of the image. */
static bool read_image(const struct kms_netbsd_image *image, uint64_t address, void *to,
		       size_t bytes)
{
	for (uint32_t i = 0; i < image->types.n_segments; i++) {
		const struct kms_types_segment *segment = &image->types.segment[i];
		uint64_t offset = address - segment->address;

		if (offset < segment->file_bytes && bytes <= segment->file_bytes - offset &&
		    offset <= UINT64_MAX - segment->offset)
			return kms_pread_full(image->fd, to, bytes, segment->offset + offset) ==
			       (ssize_t)bytes;
	}
	return false;
}

static bool is_zero(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i])
			return false;
	return true;
}

static void hex(const uint8_t *bytes, size_t n, char *text, size_t room)
{
	for (size_t i = 0; i < n && 2 * i + 2 < room; i++)
		(void)snprintf(text + 2 * i, room - 2 * i, "%02x", bytes[i]); /* fits */
}

static int compare_build_id(const struct kms_netbsd_image *image, struct kms_guest_memory *memory,
			    struct kms_err *err)
{
	const struct kms_types_answer *types = &image->types;
	uint8_t there[KMS_SYMBOLS_BUILD_ID_BYTES];
	char ours[41] = "", theirs[41] = "";
	uint64_t physical;
	int rc;

	if (kms_netbsd_image_physical(image, types->build_id_address, types->build_id_bytes,
				      &physical))
		return -ENOENT;
	rc = kms_guest_read(memory, physical, there, types->build_id_bytes, err);
	if (rc)
		return rc;
	if (!memcmp(there, types->build_id, types->build_id_bytes))
		return 0;
	if (is_zero(there, types->build_id_bytes))
		return kms_err_set(err, -EAGAIN, "no NetBSD kernel is in the guest");
	hex(types->build_id, types->build_id_bytes, ours, sizeof(ours));
	hex(there, types->build_id_bytes, theirs, sizeof(theirs));
	return kms_err_set(
		err, -EBADMSG,
		"the guest does not run %.80s: its build id is %s, at that place the guest "
		"has %s",
		image->path, ours, theirs);
}

/* A page of constants. 1: the same; 0: nothing there; -EBADMSG: something else. */
static int compare_page(const struct kms_netbsd_image *image, struct kms_guest_memory *memory,
			uint64_t address, size_t bytes, struct kms_err *err)
{
	uint8_t ours[PAGE_BYTES], theirs[PAGE_BYTES];
	uint64_t physical;
	int rc;

	if (kms_netbsd_image_physical(image, address, bytes, &physical) ||
	    !read_image(image, address, ours, bytes))
		return kms_err_set(err, -ENOTSUP, "%.150s has changed, or is damaged", image->path);
	rc = kms_guest_read(memory, physical, theirs, bytes, err);
	if (rc)
		return rc;
	if (!memcmp(ours, theirs, bytes))
		return 1;
	if (is_zero(theirs, bytes))
		return 0;
	return kms_err_set(err, -EBADMSG,
			   "the guest does not run %.80s: its constants at 0x%" PRIx64
			   " differ from those in the guest's memory",
			   image->path, address);
}

/* Pages of them that are all over the section: another build differs in nearly each of them. */
static int compare_constants(const struct kms_netbsd_image *image, struct kms_guest_memory *memory,
			     struct kms_err *err)
{
	const struct kms_types_section *section = &image->types.constants;
	uint64_t pages = (section->bytes + PAGE_BYTES - 1) / PAGE_BYTES;
	uint64_t samples = pages < SAMPLES ? pages : SAMPLES;
	bool is_missing = false;

	for (uint64_t i = 0; i < samples; i++) {
		uint64_t offset = i * (pages / samples) * PAGE_BYTES;
		uint64_t bytes = section->bytes - offset;
		int rc = compare_page(image, memory, section->address + offset,
				      bytes < PAGE_BYTES ? (size_t)bytes : PAGE_BYTES, err);

		if (rc < 0)
			return rc;
		is_missing |= rc == 0;
	}
	return is_missing ? kms_err_set(err, -EAGAIN, "no NetBSD kernel is in the guest") : 0;
}

int kms_netbsd_image_compare(const struct kms_netbsd_image *image, struct kms_guest_memory *memory,
			     struct kms_err *err)
{
	int rc = image->types.build_id_address ? compare_build_id(image, memory, err) : -ENOENT;

	if (rc == -ENOENT)
		rc = compare_constants(image, memory, err);
	if (rc == -ERANGE)
		return kms_err_set(err, -EBADMSG,
				   "%.150s is loaded to where this guest has no memory",
				   image->path);
	return rc;
}

static bool is_kernel(const struct kms_types_answer *types)
{
	return types->has_netbsd_note || (types->symbol[KMS_NB_POOL_HEAD_SYMBOL].address &&
					  types->symbol[KMS_NB_TABLES_SYMBOL].address);
}

/* Whether all is there that is needed. */
static int check(const struct kms_netbsd_image *image, struct kms_err *err)
{
	const struct kms_types_answer *types = &image->types;

	if (!types->has_symbols)
		return kms_err_set(
			err, -ENOTSUP,
			"%.100s has no symbols: a kernel that is not stripped is needed, or "
			"its debug file",
			image->path);
	for (int i = KMS_NB_POOL_HEAD_SYMBOL; i <= KMS_NB_TABLES_SYMBOL; i++)
		if (!types->symbol[i].address)
			return kms_err_set(err, -ENOTSUP, "%.150s has no symbol %s", image->path,
					   i == KMS_NB_TABLES_SYMBOL ? "PDPpaddr" : "pool_head");
	if (!types->has_dwarf)
		return kms_err_set(err, -ENOTSUP,
				   "%.70s has no DWARF: a separate debug file of the same build is "
				   "needed, beside it as NAME.debug or below /usr/lib/debug",
				   image->path);
	if (!types->struct_bytes[KMS_NB_POOL])
		return kms_err_set(err, -ENOTSUP, "the DWARF of %.150s has no struct pool",
				   types->debug_path[0] ? types->debug_path : image->path);
	if (!types->build_id_address && !types->constants.bytes)
		return kms_err_set(
			err, -ENOTSUP,
			"%.80s has no contents to compare with the guest: name the kernel "
			"itself, with its debug file beside it",
			image->path);
	return 0;
}

static int ask(const struct kms_netbsd_image_options *options, struct kms_netbsd_image *image,
	       struct kms_err *err)
{
	struct kms_types_question question;
	struct kms_types_answer *types = &image->types;
	int rc;

	kms_netbsd_question(&question, image->path);
	question.debug_root = options->debug_root;
	question.n_structures = question.n_members = 0;
	rc = kms_types_ask(&question, types, err); /* without its types: soon done */
	if (!rc && !is_kernel(types))
		rc = kms_err_set(err, -ENODATA, "%.200s is no NetBSD kernel", image->path);
	if (rc || !types->has_dwarf)
		return rc;
	kms_netbsd_question(&question, image->path);
	question.debug_root = options->debug_root;
	if (options->cache_folder && types->build_id_bytes &&
	    !kms_netbsd_saved_load(options->cache_folder, &question, types, types, NULL)) {
		image->was_cached = true;
		return 0;
	}
	rc = kms_types_ask(&question, types, err);
	if (!rc && options->cache_folder && types->build_id_bytes)
		(void)kms_netbsd_saved_store(options->cache_folder, types, NULL); /* speed only */
	return rc;
}

/* The first line. */
static void read_version(struct kms_netbsd_image *image)
{
	char *text = image->version;

	if (!read_image(image, kms_netbsd_symbol(image, KMS_NB_VERSION_SYMBOL), text,
			sizeof(image->version) - 1))
		text[0] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

int kms_netbsd_image_open(const struct kms_netbsd_image_options *options,
			  struct kms_netbsd_image *image, struct kms_err *err)
{
	int rc;

	memset(image, 0, sizeof(*image));
	image->fd = -1;
	if (!realpath(options->path, image->path))
		return kms_err_sys(err, -errno, "open", options->path);
	rc = ask(options, image, err);
	if (!rc)
		rc = check(image, err);
	if (!rc)
		rc = kms_netbsd_layout_features(&image->types, &image->features, err);
	if (!rc) {
		image->fd = open(image->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		rc = image->fd < 0 ? kms_err_sys(err, -errno, "open", image->path) : 0;
	}
	if (!rc)
		read_version(image);
	return rc;
}

void kms_netbsd_image_close(struct kms_netbsd_image *image)
{
	if (image->fd >= 0)
		(void)close(image->fd); /* only read */
	image->fd = -1;
}
