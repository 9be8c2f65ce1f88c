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
#include "tracer/guest/kernel_file.h"
#include "tracer/guest/link.h"
#include "tracer/guest/linux_front.h"
#include "tracer/guest/opened.h"
#include "tracer/process.h"

enum {
	STEP_MS = 50,
	LOOK_MS = 20, /* between searches for a kernel that boots */
	LEAVE_MS = 1000,
	START_MS = 5000, /* for a machine that we have started ourselves */
	YOUNG_MS = 1000,
	FIRST_MS = 3000, /* a region that was found is read within a moment */
};

static const uint64_t linux_every_ns =
	500000000; /* while waiting for a kernel: it takes a search of its own */
static const uint64_t quiet_ns = 3000000000; /* until it is said that nothing happens */

struct state {
	const struct kms_guest_run_config *config;
	struct kms_attach_front front;
	struct kms_guest_opened opened;
	struct kms_kernel_file kernel;
	struct kms_options set;
	bool to_stop;
	bool quiet_said;
	uint64_t linux_ns;                 /* when one was last looked for */
	struct kms_linux_view *linux_view; /* an unmodified Linux is in the guest, not our kernel */
};

bool kms_guest_run_is_target(const char *target)
{
	return !strncmp(target, "qemu:", 5) || !strncmp(target, "ram:", 4) ||
	       !strncmp(target, "gdb:", 4);
}

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

/* The file that the user names, or the one that the emulator was given: that may be no ELF file. */
static int find_kernel(struct state *s, struct kms_err *err)
{
	if (s->config->kernel)
		return kms_kernel_file_look(s->config->kernel, &s->kernel, err);
	if (s->opened.guest->kernel[0] &&
	    kms_kernel_file_look(s->opened.guest->kernel, &s->kernel, NULL))
		memset(&s->kernel, 0, sizeof(s->kernel));
	return 0;
}

static int make_link(struct state *s, struct kms_err *err)
{
	struct kms_guest_link_config config = {
		.program = s->kernel.path,
		.command = s->front.command,
		.build_id = s->kernel.build_id,
		.build_id_bytes = s->kernel.build_id_bytes,
		.at = UINT64_MAX,
		.folder = s->front.session.run_dir,
		.allow_write = s->config->allow_write,
		.say = kms_attach_front_say,
		.say_arg = (void *)&s->config->attach, /* only read */
	};

	kms_guest_opened_describe(&s->opened, &config);
	return kms_guest_link_create(&config, &s->front.guest, err);
}

/* Whether it makes no sense to wait any longer. */
static bool is_enough(const struct state *s, int wait_ms)
{
	struct pollfd p[2] = {
		{.fd = s->front.signal_fd, .events = POLLIN},
		{.fd = s->opened.pidfd,    .events = POLLIN},
	};

	return poll(p, 2, wait_ms) > 0;
}

/*
 * Nobody's kernel of ours: maybe a Linux. 1: it is one; 0: none (yet).
 * Errors: -ENOTSUP: it is one that is not known
 */
static int look_for_linux(struct state *s, struct kms_err *err)
{
	int result;

	if (s->config->kernel || s->config->go)
		return 0; /* the user means a kernel with our allocator */
	if (s->linux_ns && kms_mono_ns() - s->linux_ns < linux_every_ns)
		return 0;
	s->linux_ns = kms_mono_ns();
	result = kms_linux_front_find(&s->front, &s->opened, &s->linux_view, err);
	if (!result || result == -ENOTSUP)
		return result ? result : 1;
	kms_err_clear(err);
	return 0;
}

/* Looks for the kernel as long as it takes. */
static int await_kernel(struct state *s, struct kms_err *err)
{
	bool said = false;
	int result;

	for (;;) {
		char line[KMS_ERR_TEXT_BYTES + 64];

		result = kms_guest_link_search(s->front.guest, err);
		if (result == 1)
			return 0;
		if (result == -ENOENT) {
			struct kms_err other = KMS_ERR_INIT;
			int found = look_for_linux(s, &other);

			if (found < 0)
				*err = other;
			if (found)
				return found < 0 ? found : 0;
		}
		if (result < 0 && (result != -ENOENT || s->opened.is_saved))
			return result;
		if (result == -ENOENT && !said && !s->config->go) {
			said = true;
			(void)snprintf(line, sizeof(line), "%s yet: waiting for it", err->text);
			say(s, line);
		}
		kms_err_clear(err);
		if (is_enough(s, result ? LOOK_MS : 0))
			return kms_err_set(err, -ESRCH,
					   "%s ended before a kernel with our allocator was in it",
					   s->front.program);
	}
}

static int check_owner(struct state *s, struct kms_err *err)
{
	int result = kms_guest_link_is_owned(s->front.guest, err);

	if (result == 1)
		return kms_err_set(err, -EBUSY,
				   "the guest of pid %d is traced already: `kmemscope status` "
				   "names the session",
				   (int)s->front.pid);
	return result;
}

/* An emulator that was started a moment ago has no memory yet, or is not even one. */
static int open_guest(struct state *s, struct kms_err *err)
{
	uint64_t patience_ms = s->config->go ? START_MS : YOUNG_MS;
	uint64_t end_ns = kms_mono_ns() + patience_ms * UINT64_C(1000000);
	int result;

	for (;;) {
		result = kms_guest_opened_open(s->config->target, &s->opened, err);
		if (!result || result == -ESRCH || kms_mono_ns() >= end_ns ||
		    (result != -ENOENT && !s->config->go))
			return result;
		kms_err_clear(err);
		(void)poll(NULL, 0, LOOK_MS / 4);
	}
}

static int prepare(struct state *s, struct kms_err *err)
{
	int result = make_options(s, err);

	if (!result)
		result = open_guest(s, err);
	if (result)
		return result;
	s->front.pid = s->opened.guest->emulator.pid;
	s->front.result->pid = s->front.pid;
	(void)snprintf(s->front.program, sizeof(s->front.program), "%s", s->opened.name); /* cut */
	if (s->front.pid)
		kms_attach_front_read_command(&s->front);
	result = find_kernel(s, err);
	if (!result)
		result = make_link(s, err);
	if (!result)
		result = await_kernel(s, err);
	if (s->linux_view)
		return result;
	if (!result)
		result = check_owner(s, err);
	if (!result)
		result = kms_attach_front_output(&s->front, err);
	return result ? result : kms_attach_front_session(&s->front, err);
}

/* Until its slot has been seen: what is asked of all is asked of it from then on. */
static void await_target(struct state *s, uint64_t end_ns)
{
	const struct kms_view *view = &s->front.view;
	uint64_t requested, effective;
	bool pending;

	while (view->ops->variable_get(view->ctx, 0, KMS_VAR_TRACE, &requested, &effective,
				       &pending, NULL) == -ESRCH &&
	       kms_mono_ns() < end_ns)
		(void)poll(NULL, 0, 1); /* the reader is about to */
}

/* A beginning from which all is known, where the guest was recording before; and our values. */
static int begin_late(struct state *s, uint64_t end_ns, struct kms_err *err)
{
	int result = -ESRCH;

	while (result == -ESRCH && kms_mono_ns() < end_ns) {
		kms_err_clear(err);
		result = kms_tracer_resync(s->front.tracer, &s->set, err);
		if (result)
			(void)poll(NULL, 0, 1);
	}
	return result;
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
	uint64_t end_ns = kms_mono_ns() + FIRST_MS * UINT64_C(1000000);
	int result = 0;

	if (s->opened.is_saved)
		return 0;
	await_target(s, end_ns);
	if (kms_guest_link_is_late(s->front.guest))
		result = begin_late(s, end_ns, err);
	for (unsigned i = 0; !result && i < KMS_VARIABLE_COUNT; i++) {
		if (s->set.is_set[i])
			kms_tracer_want(s->front.tracer, i, s->set.value[i]);
	}
	return result || !s->config->go ? result : let_go_on(s, err);
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
	bool quiet = active_ns && kms_mono_ns() - active_ns > quiet_ns;

	if (quiet == s->quiet_said || s->opened.is_saved)
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
		if (s->to_stop)
			result = stop_guest(s, err);
		if (kms_tracer_wait(s->front.tracer,
				    kms_guest_link_has_ended(s->front.guest) ? STEP_MS : 0) ==
		    KMS_TRACER_OVER)
			break;
	}
	s->front.result->background =
		!kms_guest_link_has_ended(s->front.guest) && !s->opened.is_saved;
	return result;
}

/* What reading costs a guest that has to stand for it. */
static void say_pauses(const struct state *s)
{
	const struct kms_guest_memory *memory = s->opened.guest->memory;
	char line[160];

	if (!memory->pauses)
		return;
	(void)snprintf(line, sizeof(line),
		       "the guest stood still for %" PRIu64 " ms in all while it was read, %" PRIu64
		       " ms at a time at most",
		       memory->paused_ns / 1000000, memory->longest_pause_ns / 1000000);
	say(s, line);
}

static int run(struct state *s, struct kms_err *err)
{
	struct kms_err ignored = KMS_ERR_INIT;
	int result = prepare(s, err), later;

	if (result)
		return result;
	if (s->linux_view)
		return kms_linux_front_run(&s->front, &s->opened, s->linux_view, err);
	result = kms_attach_front_start(&s->front, err);
	if (!result)
		result = begin(s, err);
	if (result) {
		kms_attach_front_abandon(&s->front);
		return result;
	}
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
	s->opened.pidfd = -1;
	s->opened.say = kms_attach_front_say;
	s->opened.say_arg = (void *)&config->attach; /* only read */
	kms_attach_front_init(&s->front, &config->attach, result);
	code = kms_attach_front_signals(&s->front, err);
	if (!code)
		code = run(s, err);
	kms_guest_link_destroy(s->front.guest);
	kms_guest_opened_close(&s->opened);
	kms_attach_front_deinit(&s->front);
	free(s);
	return code;
}
