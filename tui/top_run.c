/* SPDX-License-Identifier: BSD-2-Clause */
/* The screen at work: see top_run.h. */
#include "tui/top_run.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tui/feed.h"
#include "tui/top.h"

enum {
	NS_PER_MS = 1000000,
	LEAST_FRAME_MS = 20, /* keys that come faster are shown together */
};

struct kms_top_config kms_top_defaults(void)
{
	return (struct kms_top_config){.glyphs = -1, .mouse = true, .interval_ms = 200};
}

/* One screen. */
struct run {
	struct kms_top top;
	struct kms_screen screen;
	struct kms_feed *feed;
	struct kms_term *term;
	struct kms_line_history history;
	char history_path[PATH_MAX]; /* "" none */
};

static void take_news(struct run *run)
{
	struct kms_feed_output output;
	char reason[KMS_ERR_TEXT_BYTES];
	enum kms_feed_state state;

	kms_feed_seen(run->feed);
	for (enum kms_feed_document i = 0; i < KMS_FEED_DOCUMENTS; i++)
		kms_top_take(&run->top, i, kms_feed_take(run->feed, i));
	while (kms_feed_output(run->feed, &output)) {
		kms_top_answer(&run->top, &output);
		free(output.line);
		free(output.output);
	}
	state = kms_feed_state(run->feed, reason);
	kms_top_state(&run->top, state, reason);
}

static void take_keys(struct run *run)
{
	struct kms_input input;
	int width;
	int height;

	while (!run->top.quit && kms_term_read(run->term, &input)) {
		kms_top_key(&run->top, &input);
		if (!run->top.out[0])
			continue;
		if (kms_feed_send(run->feed, run->top.out, run->top.target) < 0) {
			kms_top_say(&run->top, "too many lines wait for their answers");
			run->top.waiting--;
		}
		run->top.out[0] = '\0';
	}
	kms_term_size(run->term, &width, &height);
	if (width != run->screen.width || height != run->screen.height)
		(void)kms_screen_resize(&run->screen, width, height); /* or nothing is shown */
	if (run->top.redraw)
		kms_term_redraw(run->term);
	run->top.redraw = false;
}

static void draw(struct run *run)
{
	struct kms_feed_want want;

	kms_top_draw(&run->top, &run->screen);
	kms_term_draw(run->term, &run->screen, run->top.cursor_x, run->top.cursor_y);
	kms_top_want(&run->top, &want);
	kms_feed_want(run->feed, &want);
}

/* ^C leaves the prompt where one is open. */
static void take_signal(struct run *run)
{
	const struct kms_input escape = {.key = KMS_KEY_ESC};
	int signal = kms_term_signal(run->term);

	if (signal == SIGINT && run->top.mode != KMS_MODE_BROWSE)
		kms_top_key(&run->top, &escape);
	else if (signal)
		run->top.quit = true;
}

/* Waits for keys and news; draws at most every interval, or after a key. */
static void loop(struct run *run)
{
	struct pollfd p[2] = {
		{.fd = kms_term_fd(run->term), .events = POLLIN},
		{.fd = kms_feed_fd(run->feed), .events = POLLIN},
	};
	uint64_t drawn_ns = 0;
	uint64_t now_ns;
	bool news = true;
	bool key = true;
	uint64_t wait_ms;

	while (!run->top.quit) {
		now_ns = kms_clock_now(kms_clock_system());
		wait_ms = key ? LEAST_FRAME_MS : run->top.options.interval_ms;
		if ((news || key) && now_ns - drawn_ns >= wait_ms * NS_PER_MS) {
			take_news(run);
			draw(run);
			drawn_ns = now_ns;
			news = key = false;
		}
		wait_ms = news || key ? wait_ms - (now_ns - drawn_ns) / NS_PER_MS : INT_MAX;
		p[1].fd = news ? -1 : kms_feed_fd(run->feed); /* what is known needs no waking */
		p[0].revents = p[1].revents = 0;
		if (poll(p, 2, wait_ms == INT_MAX ? -1 : (int)wait_ms) < 0 && errno != EINTR)
			break;
		if (p[0].revents & (POLLHUP | POLLERR | POLLNVAL))
			break; /* the terminal is gone */
		news |= p[1].revents != 0;
		take_signal(run);
		if (p[0].revents || errno == EINTR) {
			take_keys(run);
			key = true;
		}
		errno = 0;
	}
}

static void open_history(struct run *run)
{
	struct kms_err err = KMS_ERR_INIT;

	/* without a place for it, the history is of this screen alone */
	if (kms_line_history_path(run->history_path, sizeof(run->history_path), &err) < 0 ||
	    kms_line_history_load(&run->history, run->history_path, &err) < 0)
		run->history_path[0] = '\0';
	run->top.history = &run->history;
}

static void close_history(struct kms_cli *cli, struct run *run)
{
	struct kms_err err = KMS_ERR_INIT;

	if (run->history_path[0] && run->history.n &&
	    kms_line_history_save(&run->history, run->history_path, &err) < 0)
		(void)kms_cli_fail(cli, &err, 0);
	kms_line_history_deinit(&run->history);
}

static struct kms_top_options top_options(const struct kms_top_config *config)
{
	struct kms_top_options options = {
		.interval_ms = config->interval_ms,
		.local_time = true,
		.ascii = config->ascii || kms_term_glyphs() == KMS_GLYPHS_ASCII,
	};

	options.glyphs = config->glyphs >= 0 ? (enum kms_glyphs)config->glyphs : kms_term_glyphs();
	if (options.ascii)
		options.glyphs = KMS_GLYPHS_ASCII;
	return options;
}

static struct run *create(const struct kms_top_config *config)
{
	struct run *run = calloc(1, sizeof(*run));
	struct kms_top_options options;

	if (!run)
		return NULL;
	(void)setlocale(LC_ALL, ""); /* NOLINT(concurrency-mt-unsafe): before any other thread */
	(void)setlocale(LC_NUMERIC, "C"); /* NOLINT(concurrency-mt-unsafe) */
	options = top_options(config);
	(void)kms_top_init(&run->top, &options);
	run->top.target = config->target;
	run->top.tab = config->tab;
	kms_screen_init(&run->screen);
	return run;
}

static void destroy(struct run *run)
{
	kms_top_deinit(&run->top);
	kms_screen_deinit(&run->screen);
	kms_feed_destroy(run->feed);
	free(run);
}

int kms_top_run(struct kms_cli *cli, const struct kms_source *source,
		const struct kms_top_config *config)
{
	const struct kms_term_options options = {
		.colors = kms_term_wants_color(config->color),
		.mouse = config->mouse,
	};
	struct kms_err err = KMS_ERR_INIT;
	struct run *run = create(config);
	int ret;

	if (!run) {
		kms_cli_error(cli, "out of memory");
		return KMS_EXIT_FAILED;
	}
	ret = kms_term_open(&options, &run->term, &err);
	if (ret == 0)
		ret = kms_feed_create(cli->hooks, source, &run->feed, &err);
	if (ret == 0) {
		open_history(run);
		take_keys(run); /* the size, too */
		loop(run);
	}
	kms_term_close(run->term);
	if (ret == 0)
		close_history(cli, run);
	destroy(run);
	if (ret == -ENOTTY || ret == -ENOTSUP)
		return kms_cli_fail(cli, &err, KMS_EXIT_USAGE);
	return ret < 0 ? kms_cli_fail(cli, &err, KMS_EXIT_FAILED) : KMS_EXIT_OK;
}

/* Whether everything that the frame shows is there. */
static bool has_all(const struct run *run, const struct kms_feed_want *want)
{
	const struct kms_doc *caches = run->top.doc[KMS_FEED_CACHES];

	for (int i = 0; i < KMS_FEED_DOCUMENTS; i++)
		if (want->documents >> i & 1 && !run->top.doc[i])
			return false;
	return !want->sum || !caches || strstr(caches->path, "sum=1");
}

/* Waits for it, or until the source fails. What is wanted may depend on what came. */
static int wait_for_all(struct run *run, struct kms_err *err)
{
	struct pollfd p = {.fd = kms_feed_fd(run->feed), .events = POLLIN};
	struct kms_feed_want want;

	for (;;) {
		kms_top_want(&run->top, &want);
		kms_feed_want(run->feed, &want);
		if (has_all(run, &want))
			break;
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return kms_err_sys(err, -errno, "poll", NULL);
		take_news(run);
		if (run->top.state == KMS_FEED_LOST)
			return kms_err_set(err, -ECONNRESET, "%s", run->top.reason);
	}
	if (!run->top.doc[KMS_FEED_STATS]->json) /* refused: no token, no such target */
		return kms_err_set(err, -EREMOTEIO, "%s", run->top.doc[KMS_FEED_STATS]->error);
	return 0;
}

static void print_frame(struct kms_cli *cli, struct run *run)
{
	struct kms_buf text;

	kms_top_draw(&run->top, &run->screen);
	kms_buf_init(&text, 16 << 20);
	kms_screen_text(&run->screen, &text);
	kms_cli_write(cli->out, kms_buf_text(&text), text.used_bytes);
	kms_buf_deinit(&text);
}

int kms_top_once(struct kms_cli *cli, const struct kms_source *source,
		 const struct kms_top_config *config)
{
	struct kms_err err = KMS_ERR_INIT;
	struct run *run = create(config);
	int ret;

	if (!run) {
		kms_cli_error(cli, "out of memory");
		return KMS_EXIT_FAILED;
	}
	ret = kms_feed_create(cli->hooks, source, &run->feed, &err);
	if (ret == 0 && kms_screen_resize(&run->screen, config->width ? config->width : 80,
					  config->height ? config->height : 24) < 0)
		ret = kms_err_set(&err, -ENOMEM, "out of memory");
	if (ret == 0) {
		run->top.width = run->screen.width;
		run->top.height = run->screen.height;
		ret = wait_for_all(run, &err);
	}
	if (ret == 0)
		print_frame(cli, run);
	destroy(run);
	if (ret == 0)
		return KMS_EXIT_OK;
	return kms_cli_fail(cli, &err, ret == -ECONNRESET ? KMS_EXIT_TARGET_LOST : KMS_EXIT_FAILED);
}
