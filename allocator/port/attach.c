/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/port/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocator/control.h"
#include "allocator/heap.h"
#include "allocator/join.h"
#include "allocator/port.h"
#include "allocator/port/fronts.h"
#include "allocator/port/maps.h"
#include "allocator/port/process.h"
#include "allocator/port/region_file.h"
#include "allocator/port/unwind_posix.h"
#include "allocator/stack.h"
#include "schema/attach.h"

/* One for each copy of the allocator. Found from outside, where nothing has its name; see the
 * header. */
static struct kms_attach_page page __attribute__((aligned(KMS_PAGE_BYTES), used)) = {
	.magic = KMS_ATTACH_MAGIC,
	.version = KMS_ATTACH_VERSION,
	.bytes = sizeof(page),
	.self = (uintptr_t)&page,
};

enum {
	KERNEL_MASK_BYTES = 8,
};

static uint32_t join_lock;

/* What the page says of this process. */
static void tell(const struct kms_heap *heap)
{
	page.region_address = heap->shared ? (uintptr_t)heap->region : 0;
	page.pid = kms_port_pid();
	__atomic_store_n(&page.state, heap->shared ? KMS_ATTACH_JOINED : KMS_ATTACH_ALONE,
			 __ATOMIC_RELEASE);
}

void kms_attach_start(struct kms_heap *heap)
{
	heap->alone_attention = &page.attention;
	tell(heap);
}

void kms_attach_forked(struct kms_heap *heap)
{
	join_lock = 0; /* its holder does not exist here */
	tell(heap);
}

/* A folder of this user alone: whoever can write there could write into our region. */
static int check_folder(const char *path)
{
	struct stat st;
	int fd, result = 0;

	if (path[0] != '/')
		return -EINVAL;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		result = -errno;
	else if (st.st_uid != geteuid() || st.st_mode & (S_IRWXG | S_IRWXO))
		result = -EACCES;
	close(fd);
	return result;
}

/* With every lock of the heap held, and no signal handler in between. */
static void move(struct kms_heap *heap, void *memory, struct kms_stacks *stacks)
{
	kms_process_lock_all();
	kms_region_succeed(heap, memory);
	kms_region_file_identify(heap);
	heap->stacks = stacks;
	stacks->unwind->modules.slot = 0;
	(void)kms_heap_join(heap); /* a new region has free slots */
	kms_process_unlock_all();
	kms_maps_forget();
	kms_maps_start(heap);
}

static int join(struct kms_heap *heap, const char *folder, const char *options)
{
	struct kms_stacks *stacks;
	void *memory;
	int result = check_folder(folder);

	if (result < 0)
		return result;
	memory = kms_region_file_map(heap, folder);
	if (!memory)
		return -(errno ? errno : ENOMEM);
	kms_region_lay_out_again(heap, memory);
	stacks = kms_stack_make(heap, memory);
	if (!stacks) {
		/* the file has no magic: the tracer removes it when nobody maps it */
		(void)munmap(memory, heap->region->region_bytes);
		return -ENOMEM;
	}
	kms_control_parse(heap, options, NULL);
	move(heap, memory, stacks);
	/* Tracing keeps sizes: the checks may have changed with it. */
	kms_control_again(heap);
	return 0;
}

/* Is there a request for this very process that is not answered yet? */
static bool has_request(uint64_t *number)
{
	uint64_t v = __atomic_load_n(&page.request.v, __ATOMIC_ACQUIRE);

	*number = v;
	return v && v != page.answer &&
	       v == ~__atomic_load_n(&page.request.not_v, __ATOMIC_ACQUIRE) &&
	       page.request_pid == kms_port_pid();
}

bool kms_attach_is_asked(void)
{
	uint64_t number;

	page.pid = kms_port_pid();
	return has_request(&number);
}

static void answer(struct kms_heap *heap, uint64_t number)
{
	/* the tracer may write again while we read: one look */
	struct kms_attach_page copy = page;
	bool whole = copy.path_check == kms_attach_check(&copy);

	copy.run_dir[KMS_ATTACH_DIR_BYTES - 1] = '\0';
	copy.options[KMS_ATTACH_OPTIONS_BYTES - 1] = '\0';
	if (!whole)
		page.result = -EBADMSG;
	else if (heap->shared)
		page.result = -EBUSY;
	else
		page.result = join(heap, copy.run_dir, copy.options);
	tell(heap);
	__atomic_store_n(&page.answer, number, __ATOMIC_RELEASE);
}

/* Past what stands in front of libc's call (preload/sigmask.c): this is not the program's wish. */
static void set_signals(const sigset_t *set, sigset_t *old)
{
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, set, old, KERNEL_MASK_BYTES);
}

static void block_signals(sigset_t *old)
{
	sigset_t most;

	sigfillset(&most);
	sigdelset(&most, SIGSEGV);
	sigdelset(&most, SIGBUS);
	set_signals(&most, old);
}

void kms_attach_poll(struct kms_heap *heap)
{
	int saved_errno = errno;
	sigset_t old;
	uint64_t number;

	if (page.state != (heap->shared ? KMS_ATTACH_JOINED : KMS_ATTACH_ALONE))
		tell(heap); /* it has left */
	if (!has_request(&number))
		return;
	block_signals(&old);
	kms_port_lock(&join_lock);
	if (has_request(&number))
		answer(heap, number);
	kms_port_unlock(&join_lock);
	set_signals(&old, NULL);
	errno = saved_errno;
}
