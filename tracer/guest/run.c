/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/run.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schema/variables.h"
#include "tracer/attach_front.h"
#include "tracer/guest/boot.h"
#include "tracer/guest/entry.h"
#include "tracer/guest/linux_front.h"
#include "tracer/guest/netbsd_front.h"
#include "tracer/process.h"

enum {
	STEP_MS = 50,
	LEAVE_MS = 1000,
	START_MS = 5000, /* for a machine that we have started ourselves */
};

static const uint64_t quiet_ns = 3000000000; /* until it is said that nothing happens */

struct state {
	const struct kms_guest_run_config *config;
	struct kms_attach_front front;
	struct kms_guest_entry entry;
	struct kms_options set;
	bool to_stop;
	bool quiet_said;
	struct kms_netbsd_front netbsd; /* or a NetBSD, whose file we have */
};

static void say(const struct state *s, const char *line)
{
	kms_attach_front_say((void *)&s->config->attach, line);
}

/* Start values: those that suit a kernel that was not ours, then what the user says. */
static int make_options(struct state *s, struct kms_err *err)
{
	const struct kms_attach_config *config = &s->config->attach;
	int result = kms_options_parse(&s->set, "on_full=0,panic=0", err);

	for (size_t i = 0; !result && i < config->n_settings; i++)
		result = kms_options_set(&s->set, config->settings[i], err);
	if (!result && s->set.is_set[KMS_VAR_RING_BYTES])
		result =
			kms_err_set(err, -ENOTSUP, "kmem_ring_bytes is fixed when a kernel starts");
	return result;
}

/* The kernel's file may be NetBSD's. */
static int look_for_netbsd(struct state *s, struct kms_err *err)
{
	int result;

	if (!s->entry.kernel.path[0])
		return 0;
	result = kms_netbsd_front_look(&s->netbsd, s->entry.kernel.path, err);
	if (!result || s->config->kernel || result == -ENOTSUP)
		return result; /* -ENOTSUP: it is NetBSD's, and something is missing */
	kms_err_clear(err);
	return 0;
}

/* --boot: what the kernel reads only once is written before. */
static int boot_guest(struct state *s, struct kms_err *err)
{
	const struct kms_guest_boot_config config = {.kernel = s->entry.kernel.path,
						     .depth = s->config->depth,
						     .enough_fd = s->front.signal_fd,
						     .say = kms_attach_front_say,
						     .say_arg = (void *)&s->config->attach};
	struct kms_guest_boot done;
	char line[160];
	int result;

	if (!s->config->boot)
		return 0;
	if (s->entry.opened.is_saved)
		return kms_err_set(err, -EINVAL, "nothing boots in saved memory");
	if (!s->entry.kernel.path[0])
		return kms_err_set(err, -EINVAL,
				   "--boot needs the file of the guest's kernel: --kernel ELF");
	result = kms_guest_boot(s->entry.opened.guest, &config, &done, err);
	if (result)
		return result;
	(void)snprintf(line, sizeof(line),
		       "kmem_guard_depth %" PRIu64 " -> %" PRIu64 " (0x%" PRIx64
		       "), written at kmem_init and read back; the guest stood there for %" PRIu64
		       " ms",
		       done.before, done.after, done.after, done.stood_ns / 1000000);
	say(s, line);
	return 0;
}

/* What was written before there was a trace is in its audit all the same. */
static void note_boot(const struct state *s)
{
	struct kms_options written = {0};

	if (!s->config->boot)
		return;
	written.is_set[KMS_VAR_GUARD_DEPTH] = true;
	written.value[KMS_VAR_GUARD_DEPTH] = s->config->depth;
	kms_tracer_attached(s->front.tracer, KMS_ATTACH_WHO " --boot", s->front.pid, &written);
}

/* Whether it makes no sense to wait any longer. */
static bool is_enough(const struct state *s, int wait_ms)
{
	struct pollfd p[2] = {
		{.fd = s->front.signal_fd,    .events = POLLIN},
		{.fd = s->entry.opened.pidfd, .events = POLLIN},
	};

	return poll(p, 2, wait_ms) > 0;
}

/* Between two looks. A guest that stands for each of them would never come to have a kernel. */
static int rest_ms(const struct state *s, int result)
{
	return result || s->entry.opened.guest->memory->pauses ? KMS_GUEST_ENTRY_LOOK_MS : 0;
}

/* Looks for the kernel as long as it takes. */
static int await_kernel(struct state *s, struct kms_err *err)
{
	bool said = false;
	int result;

	for (;;) {
		char line[KMS_ERR_TEXT_BYTES + 64];

		result = kms_guest_entry_look(&s->entry, err);
		if (result == 1)
			return 0;
		if (result < 0 && (result != -ENOENT || s->entry.opened.is_saved))
			return result;
		if (result == -ENOENT && !said && !s->config->go) {
			said = true;
			(void)snprintf(line, sizeof(line), "%s yet: waiting for it", err->text);
			say(s, line);
		}
		kms_err_clear(err);
		if (is_enough(s, rest_ms(s, result)))
			return kms_err_set(err, -ESRCH,
					   "%s ended before a kernel with our allocator was in it",
					   s->front.program);
	}
}

/* A NetBSD that boots is waited for; one that is another than the user has is not. */
static int await_netbsd(struct state *s, struct kms_err *err)
{
	bool said = false;
	int result;

	for (;;) {
		char line[KMS_ERR_TEXT_BYTES + 64];

		result = kms_netbsd_front_find(&s->netbsd, &s->front, &s->entry.opened, err);
		if (result != -EAGAIN || s->entry.opened.is_saved)
			return result;
		if (!said)
			(void)snprintf(line, sizeof(line), "%s yet: waiting for it", err->text);
		if (!said)
			say(s, line);
		said = true;
		kms_err_clear(err);
		if (is_enough(s, KMS_GUEST_ENTRY_LOOK_MS))
			return kms_err_set(err, -ESRCH, "%s ended before NetBSD was in it",
					   s->front.program);
	}
}

/* Opens the emulator and what describes it. */
static int open_guest(struct state *s, struct kms_err *err)
{
	const struct kms_guest_entry_config config = {
		.target = s->config->target,
		.kernel = s->config->kernel,
		.ours_only = s->config->go,
		.allow_write = s->config->allow_write,
		.say = kms_attach_front_say,
		.say_arg = (void *)&s->config->attach, /* only read */
	};
	int result = kms_guest_entry_open(&s->entry, &config,
					  s->config->go ? START_MS : KMS_GUEST_ENTRY_YOUNG_MS, err);

	if (result)
		return result;
	s->front.pid = s->front.result->pid = s->entry.pid;
	(void)snprintf(s->front.program, sizeof(s->front.program), "%s",
		       s->entry.opened.name); /* cut */
	if (s->front.pid)
		kms_attach_front_read_command(&s->front);
	return 0;
}

static int prepare(struct state *s, struct kms_err *err)
{
	int result = make_options(s, err);

	if (!result)
		result = open_guest(s, err);
	if (!result)
		result = look_for_netbsd(s, err);
	if (!result)
		result = boot_guest(s, err);
	if (!result && s->netbsd.is_netbsd)
		return await_netbsd(s, err);
	if (!result)
		result = kms_guest_entry_prepare(&s->entry, s->front.command,
						 s->front.session.run_dir, err);
	if (!result)
		result = await_kernel(s, err);
	if (result || s->entry.linux_view)
		return result;
	s->front.guest = s->entry.link;
	result = kms_guest_entry_check_owner(&s->entry, err);
	if (!result)
		result = kms_attach_front_output(&s->front, err);
	return result ? result : kms_attach_front_session(&s->front, err);
}

/* A kernel that waits at its start goes on; one that does not is as good. */
static int let_go_on(struct state *s, struct kms_err *err)
{
	int result = s->front.view.ops->resume(s->front.view.ctx, KMS_ATTACH_WHO, 0, err);

	if (result == -EALREADY || result == -ESRCH) {
		kms_err_clear(err);
		result = 0;
	}
	return result;
}

static int begin(struct state *s, struct kms_err *err)
{
	int result;

	note_boot(s);
	result = kms_guest_entry_begin(&s->entry, s->front.tracer, &s->set, err);
	return result || s->entry.opened.is_saved || !s->config->go ? result : let_go_on(s, err);
}

static void leave(struct state *s)
{
	uint64_t end_ns = kms_mono_ns() + LEAVE_MS * UINT64_C(1000000);

	s->front.result->background = true;
	/* fails where nobody is there any more */
	(void)s->front.view.ops->detach(s->front.view.ctx, KMS_ATTACH_WHO, 0, NULL);
	while (kms_mono_ns() < end_ns &&
	       kms_tracer_wait(s->front.tracer, STEP_MS) != KMS_TRACER_OVER)
		;
}

/* Without a word of the emulator a machine that stands and one that has nothing to do look the same. */
static void look_for_quiet(struct state *s)
{
	uint64_t active_ns = kms_guest_link_active_ns(s->front.guest);
	bool quiet = active_ns && kms_mono_ns() - active_ns > quiet_ns &&
		     !kms_guest_link_is_paused(s->front.guest); /* that was said */

	if (quiet == s->quiet_said || s->entry.opened.is_saved)
		return;
	s->quiet_said = quiet;
	say(s, quiet ? "no progress for 3 s: the guest stands still, or does not allocate"
		     : "the guest goes on");
}

/* -d: as soon as it is there. */
static int stop_guest(struct state *s, struct kms_err *err)
{
	int result = s->front.view.ops->stop(s->front.view.ctx, KMS_ATTACH_WHO, 0, err);

	s->to_stop = result == -ESRCH;
	if (s->to_stop || result == -EALREADY)
		kms_err_clear(err);
	return s->to_stop || result == -EALREADY ? 0 : result;
}

static int stay(struct state *s, struct kms_err *err)
{
	int result = 0;

	while (!result) {
		if (is_enough(s, STEP_MS) && kms_attach_front_is_enough(&s->front)) {
			leave(s);
			return 0;
		}
		look_for_quiet(s);
		kms_guest_entry_turn(&s->entry, s->front.tracer);
		if (s->to_stop)
			result = stop_guest(s, err);
		if (kms_tracer_wait(s->front.tracer,
				    kms_guest_link_has_ended(s->front.guest) ? STEP_MS : 0) ==
		    KMS_TRACER_OVER)
			break;
	}
	s->front.result->background = (!kms_guest_link_has_ended(s->front.guest) ||
				       kms_guest_link_has_moved(s->front.guest)) &&
				      !s->entry.opened.is_saved;
	return result;
}

/* What reading costs a guest that has to stand for it. */
static void say_pauses(const struct state *s)
{
	const struct kms_guest_memory *memory = s->entry.opened.guest->memory;
	char line[160];

	if (!memory->pauses)
		return;
	(void)snprintf(line, sizeof(line),
		       "the guest stood still for %" PRIu64 " ms in all while it was read, %" PRIu64
		       " ms at a time at most",
		       memory->paused_ns / 1000000, memory->longest_pause_ns / 1000000);
	say(s, line);
}

/* The tracer, from its beginning on; nothing of it is left where that fails. */
static int start(struct state *s, struct kms_err *err)
{
	int result = kms_attach_front_start(&s->front, err);

	if (!result)
		result = begin(s, err);
	if (!result)
		return 0;
	kms_attach_front_abandon(&s->front);
	s->front.tracer = NULL;
	s->front.server = NULL;
	s->front.guest = NULL;
	return result;
}

/* Until there is a kernel that is traced, a Linux or a NetBSD. */
static int find_and_start(struct state *s, struct kms_err *err)
{
	int result;

	for (;;) {
		result = prepare(s, err);
		if (!result && !s->entry.linux_view && !s->netbsd.is_netbsd)
			result = start(s, err);
		if (!result || s->netbsd.is_netbsd || !kms_guest_entry_is_again(&s->entry, result))
			return result;
		kms_err_clear(err);
	}
}

static int run(struct state *s, struct kms_err *err)
{
	struct kms_err ignored = KMS_ERR_INIT;
	int result = find_and_start(s, err), later;

	if (result)
		return result;
	if (s->netbsd.is_netbsd)
		return kms_netbsd_front_run(&s->netbsd, &s->front, &s->entry.opened, err);
	if (s->entry.linux_view)
		return kms_linux_front_run(&s->front, &s->entry, err);
	if (s->config->attach.started)
		s->config->attach.started(s->config->attach.say_arg, s->front.result);
	result = stay(s, err);
	later = kms_attach_front_stop(&s->front, &ignored);
	say_pauses(s);
	s->front.result->store_failed = later < 0;
	if (later < 0)
		say(s, ignored.text);
	return result;
}

int kms_guest_run(const struct kms_guest_run_config *config, struct kms_run_result *result,
		  struct kms_err *err)
{
	struct state *s = calloc(1, sizeof(*s)); /* paths: too much for a stack */
	int code;

	*result = (struct kms_run_result){.tracer_pid = getpid(), .wait_status = -1};
	if (!s)
		return kms_err_set(err, -ENOMEM, "out of memory");
	s->config = config;
	s->to_stop = config->attach.stopped;
	s->netbsd.image.fd = -1;
	kms_attach_front_init(&s->front, &config->attach, result);
	code = kms_attach_front_signals(&s->front, err);
	if (!code)
		code = run(s, err);
	kms_netbsd_front_deinit(&s->netbsd);
	kms_guest_entry_close(&s->entry);
	kms_attach_front_deinit(&s->front);
	free(s);
	return code;
}
