/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/port/modules_posix.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocator/port.h"
#include "base/hash.h"

enum {
	PATH_BYTES =
		1024, /* longer ones are cut: this is on the stack of a signal handler, perhaps */
	LOCK_SPINS = 20000,
	NOTE_NAME_BYTES = 4,
};

/* What is written about a module. */
struct module_text {
	char path[PATH_BYTES];
	uint32_t build_id_bytes;
	uint8_t build_id[32];
};

void kms_modules_init(struct kms_modules *modules, struct kms_region_header *region)
{
	kms_append_open(&modules->table, region, KMS_SEC_MODULE);
	kms_append_open(&modules->strings, region, KMS_SEC_STRING);
	modules->generation = 1;
}

bool kms_module_find(uint64_t address, struct kms_module_view *view)
{
	struct dl_find_object found;

	if (_dl_find_object((void *)(uintptr_t)address, &found) != 0)
		return false;
	*view = (struct kms_module_view){
		.start = (uintptr_t)found.dlfo_map_start,
		.end = (uintptr_t)found.dlfo_map_end,
		.bias = found.dlfo_link_map->l_addr,
		.name = found.dlfo_link_map->l_name ? found.dlfo_link_map->l_name : "",
		.header = found.dlfo_eh_frame,
	};
	return true;
}

/* Program headers of a module; 0 if they cannot be trusted to lie in its first page. */
static unsigned program_headers(const struct kms_module_view *view, const ElfW(Phdr) * *first)
{
	const ElfW(Ehdr) *elf = (const ElfW(Ehdr) *)(uintptr_t)view->start;
	uint64_t offset;

	if (view->end - view->start < KMS_PAGE_BYTES ||
	    __builtin_memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 ||
	    elf->e_phentsize != sizeof(ElfW(Phdr)))
		return 0;
	offset = elf->e_phoff;
	if (offset % sizeof(uint64_t) || offset > KMS_PAGE_BYTES ||
	    elf->e_phnum > (KMS_PAGE_BYTES - offset) / sizeof(ElfW(Phdr)))
		return 0;
	*first = (const ElfW(Phdr) *)(uintptr_t)(view->start + offset);
	return elf->e_phnum;
}

/* Does [start, start + bytes) lie in the module? */
static bool inside(const struct kms_module_view *view, uint64_t start, uint64_t bytes)
{
	return start >= view->start && start <= view->end && bytes <= view->end - start;
}

bool kms_module_segment(const struct kms_module_view *view, struct kms_eh_view *segment)
{
	const ElfW(Phdr) * header;
	unsigned count = program_headers(view, &header);

	for (unsigned i = 0; i < count; i++, header++) {
		uint64_t start = view->bias + header->p_vaddr;
		uint64_t place = (uintptr_t)view->header;

		if (header->p_type != PT_LOAD || !(header->p_flags & PF_R) || place < start ||
		    place - start >= header->p_filesz || !inside(view, start, header->p_filesz))
			continue;
		segment->start = (const uint8_t *)(uintptr_t)start;
		segment->end = segment->start + header->p_filesz;
		return true;
	}
	return false;
}

bool kms_module_is_code(const struct kms_module_view *view, uint64_t address)
{
	const ElfW(Phdr) * header;
	unsigned count = program_headers(view, &header);

	for (unsigned i = 0; i < count; i++, header++) {
		if (header->p_type == PT_LOAD && (header->p_flags & PF_X) &&
		    address - (view->bias + header->p_vaddr) < header->p_memsz)
			return true;
	}
	return false;
}

/* The build-id among the notes in [at, end). */
static bool find_note(struct kms_eh_cursor notes, struct module_text *text)
{
	while (!notes.bad && notes.at < notes.end) {
		uint64_t name_bytes = kms_eh_unsigned(&notes, 4);
		uint64_t bytes = kms_eh_unsigned(&notes, 4);
		uint64_t type = kms_eh_unsigned(&notes, 4);
		uint64_t left = (uint64_t)(notes.end - notes.at);
		const uint8_t *name = notes.at;

		name_bytes = (name_bytes + 3) & ~UINT64_C(3);
		if (notes.bad || name_bytes > left || bytes > left - name_bytes)
			return false;
		if (type == NT_GNU_BUILD_ID && name_bytes == NOTE_NAME_BYTES &&
		    __builtin_memcmp(name, ELF_NOTE_GNU, NOTE_NAME_BYTES) == 0 &&
		    bytes <= sizeof(text->build_id)) {
			text->build_id_bytes = (uint32_t)bytes;
			__builtin_memcpy(text->build_id, name + name_bytes, bytes);
			return true;
		}
		bytes = (bytes + 3) & ~UINT64_C(3);
		if (bytes > left - name_bytes)
			return false;
		notes.at += name_bytes + bytes;
	}
	return false;
}

static void read_build_id(const struct kms_module_view *view, struct module_text *text)
{
	const ElfW(Phdr) * header;
	unsigned count = program_headers(view, &header);

	text->build_id_bytes = 0;
	for (unsigned i = 0; i < count; i++, header++) {
		uint64_t start = view->bias + header->p_vaddr;
		const uint8_t *bytes = (const uint8_t *)(uintptr_t)start;
		struct kms_eh_cursor notes = {bytes, bytes + header->p_memsz, false};

		if (header->p_type == PT_NOTE && inside(view, start, header->p_memsz) &&
		    find_note(notes, text))
			return;
	}
}

static bool begins_with(const char *text, const char *start)
{
	while (*start && *text == *start) {
		text++;
		start++;
	}
	return *start == '\0';
}

static size_t append_text(char *path, size_t length, const char *text)
{
	while (*text && length < PATH_BYTES - 1)
		path[length++] = *text++;
	path[length] = '\0';
	return length;
}

/* Absolute path of a module, in brackets where there is no file. */
static void read_path(const char *name, char *path)
{
	int kept = errno; /* the program's, who did not ask for these system calls */
	long length;

	if (*name == '\0') {
		length = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, PATH_BYTES - 1);
		path[length > 0 ? length : 0] = '\0';
	} else if (begins_with(name, "linux-vdso") || begins_with(name, "linux-gate")) {
		append_text(path, 0, "[vdso]");
	} else if (*name == '/') {
		append_text(path, 0, name);
	} else {
		length = syscall(SYS_getcwd, path, PATH_BYTES / 2); /* counts the NUL */
		length = length > 1 ? length - 1 : 0;
		length = (long)append_text(path, (size_t)length, "/");
		append_text(path, (size_t)length, name);
	}
	errno = kept;
}

static size_t text_length(const char *text)
{
	size_t length = 0;

	while (text[length])
		length++;
	return length;
}

static uint64_t hash_module(const struct kms_module_view *view, const struct module_text *text)
{
	uint64_t hash = kms_hash_join(view->end, view->bias);

	hash = kms_hash_bytes(text->path, text_length(text->path), hash);
	return kms_hash_bytes(text->build_id, text->build_id_bytes, hash);
}

/* Writes the table's entry; its epoch, 0 if the table is full. */
static uint32_t register_module(struct kms_modules *modules, const struct kms_module_view *view,
				const struct module_text *text)
{
	uint32_t index = kms_append_take(&modules->table, 1);
	struct kms_module *module;
	uint32_t epoch = index + 1;

	if (index == KMS_NO_INDEX || epoch > KMS_MAX_MODULES)
		return 0;
	module = kms_append_entry(&modules->table, index);
	module->start = view->start;
	module->end = view->end;
	module->load_bias = view->bias;
	module->path_string = kms_append_string(&modules->strings, text->path, PATH_BYTES);
	module->epoch = epoch;
	module->slot = __atomic_load_n(&modules->slot, __ATOMIC_RELAXED);
	module->build_id_bytes = text->build_id_bytes;
	__builtin_memcpy(module->build_id, text->build_id, text->build_id_bytes);
	/* pairs with the reader's acquire load of ready: the fields above are there */
	__atomic_store_n(&module->ready, 1, __ATOMIC_RELEASE);
	if (modules->registered)
		modules->registered(modules->arg, index);
	return epoch;
}

/* The place of a module that starts at @start: its own, or a free one, or NULL. */
static struct kms_module_known *find_place(struct kms_modules *modules, uint64_t start)
{
	uint64_t hash = kms_hash_u64(start);

	for (unsigned i = 0; i < KMS_KNOWN_MODULES; i++) {
		struct kms_module_known *known = &modules->known[(hash + i) % KMS_KNOWN_MODULES];
		uint64_t there = __atomic_load_n(&known->start, __ATOMIC_RELAXED);

		if (there == start || there == 0)
			return known;
	}
	return NULL;
}

bool kms_modules_try_lock(struct kms_modules *modules)
{
	uint32_t self = kms_port_tid();
	uint32_t holder = 0;

	for (unsigned i = 0; i < LOCK_SPINS; i++) {
		holder = 0;
		if (__atomic_compare_exchange_n(&modules->lock, &holder, self, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
		if (holder == self)
			return false; /* we interrupted it */
		__builtin_ia32_pause();
	}
	/* A forked child has the lock of a thread that it does not have. */
	return !kms_port_alive(holder) &&
	       __atomic_compare_exchange_n(&modules->lock, &holder, self, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

void kms_modules_unlock(struct kms_modules *modules)
{
	__atomic_store_n(&modules->lock, 0, __ATOMIC_RELEASE);
}

/* Registers a module, unless it is the one that was known at this place before. */
static uint32_t see_again(struct kms_modules *modules, struct kms_module_known *known,
			  const struct kms_module_view *view, uint32_t generation)
{
	uint64_t standing = __atomic_load_n(&known->standing, __ATOMIC_RELAXED);
	uint32_t epoch = (uint32_t)(standing >> 32);
	struct module_text text;
	uint64_t identity;

	if (epoch && (uint32_t)standing == generation)
		return epoch; /* another thread was faster */
	read_path(view->name, text.path);
	read_build_id(view, &text);
	identity = hash_module(view, &text);
	if (epoch == 0 || known->identity != identity)
		epoch = register_module(modules, view, &text);
	if (epoch == 0)
		return 0;
	known->identity = identity;
	__atomic_store_n(&modules->seen[epoch], generation, __ATOMIC_RELAXED);
	__atomic_store_n(&known->start, view->start, __ATOMIC_RELAXED);
	/* pairs with kms_modules_epoch: seen[epoch] is set */
	__atomic_store_n(&known->standing, (uint64_t)epoch << 32 | generation, __ATOMIC_RELEASE);
	return epoch;
}

/* The lock's holder is the code that we interrupted, or very slow: leave its table alone. */
static uint32_t register_apart(struct kms_modules *modules, const struct kms_module_view *view,
			       uint32_t generation)
{
	struct module_text text;
	uint32_t epoch;

	read_path(view->name, text.path);
	read_build_id(view, &text);
	epoch = register_module(modules, view, &text);
	__atomic_store_n(&modules->seen[epoch], generation, __ATOMIC_RELAXED);
	return epoch;
}

uint32_t kms_modules_epoch(struct kms_modules *modules, const struct kms_module_view *view)
{
	uint32_t generation = __atomic_load_n(&modules->generation, __ATOMIC_ACQUIRE);
	struct kms_module_known *known = find_place(modules, view->start);
	uint64_t standing;
	uint32_t epoch;

	if (!known)
		return 0;
	if (__atomic_load_n(&known->start, __ATOMIC_RELAXED) == view->start) {
		/* pairs with see_again: seen[epoch] is set */
		standing = __atomic_load_n(&known->standing, __ATOMIC_ACQUIRE);
		if ((uint32_t)standing == generation && standing >> 32)
			return (uint32_t)(standing >> 32);
	}
	if (!kms_modules_try_lock(modules))
		return register_apart(modules, view, generation);
	epoch = 0;
	known = find_place(modules, view->start); /* a free place may have been taken meanwhile */
	if (known)
		epoch = see_again(modules, known, view, generation);
	kms_modules_unlock(modules);
	return epoch;
}
