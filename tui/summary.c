/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a run: see summary.h. */
#include "tui/summary.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fmt.h"
#include "tui/suppress.h"
#include "tui/view.h"

enum {
	TOP_LEAKS = 3,
	TOP_FRAMES = 4,
	TOP_FAULTS = 5,
};

static int load_leaks(struct kms_client *client, const struct kms_suppressions *suppressions,
		      cJSON **leaks, struct kms_err *err)
{
	const struct kms_suppressions_ask ask = {.request = "/api/v1/leaks", .limit = TOP_LEAKS};

	if (suppressions)
		return kms_suppressions_leaks(suppressions, client, &ask, leaks, err);
	return kms_client_json(client, "/api/v1/leaks?limit=3", leaks, err);
}

static int load(const struct kms_cli *cli, const struct kms_source *source,
		const struct kms_suppressions *suppressions, struct kms_summary *summary,
		struct kms_err *err)
{
	struct kms_client *client;
	int ret;

	memset(summary, 0, sizeof(*summary));
	ret = kms_client_open(cli->hooks, source, &client, err);
	if (ret < 0)
		return ret;
	ret = kms_client_json(client, "/api/v1/stats", &summary->stats, err);
	if (ret == 0)
		ret = kms_client_json(client, "/api/v1/faults?limit=5", &summary->faults, err);
	if (ret == 0)
		ret = load_leaks(client, suppressions, &summary->leaks, err);
	kms_client_close(client);
	return ret;
}

/* What is in the traces of daemons that died during the run. */
static uint64_t earlier_faults(const struct kms_cli *cli, const struct kms_run_info *info)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < info->n_earlier && i < KMS_RUN_INFO_EARLIER; i++) {
		struct kms_source source = {.kind = KMS_SOURCE_FILE};
		struct kms_client *client;
		cJSON *faults = NULL;

		snprintf(source.path, sizeof(source.path), "%s", info->earlier[i]);
		if (kms_client_open(cli->hooks, &source, &client, NULL) < 0)
			continue; /* moved away perhaps: the last one is what counts */
		if (kms_client_json(client, "/api/v1/faults?limit=1", &faults, NULL) == 0)
			total += kms_json_number(faults, "total");
		cJSON_Delete(faults);
		kms_client_close(client);
	}
	return total;
}

static int load_last(const struct kms_cli *cli, const struct kms_run_info *info,
		     const struct kms_suppressions *suppressions, struct kms_summary *summary,
		     struct kms_err *err)
{
	struct kms_source source = {.kind = KMS_SOURCE_SESSION};

	snprintf(source.name, sizeof(source.name), "of pid %d", (int)info->pid);
	if (info->background && info->socket[0]) {
		snprintf(source.path, sizeof(source.path), "%s", info->socket);
		if (load(cli, &source, suppressions, summary, err) == 0)
			return 0;
		/* those in the background have ended meanwhile: the file is complete */
		kms_summary_deinit(summary);
		kms_err_clear(err);
	}
	source.kind = KMS_SOURCE_FILE;
	snprintf(source.path, sizeof(source.path), "%s", info->file);
	return load(cli, &source, suppressions, summary, err);
}

int kms_summary_load(const struct kms_cli *cli, const struct kms_run_info *info,
		     const struct kms_suppressions *suppressions, struct kms_summary *summary,
		     struct kms_err *err)
{
	int result = load_last(cli, info, suppressions, summary, err);

	summary->earlier_faults = earlier_faults(cli, info);
	return result;
}

void kms_summary_deinit(struct kms_summary *summary)
{
	cJSON_Delete(summary->stats);
	cJSON_Delete(summary->faults);
	cJSON_Delete(summary->leaks);
	memset(summary, 0, sizeof(*summary));
}

bool kms_summary_has_findings(const struct kms_summary *summary,
			      const struct kms_opt_number *leak_threshold)
{
	return kms_json_number(summary->faults, "total") + summary->earlier_faults > 0 ||
	       (leak_threshold->given &&
		kms_json_number(summary->leaks, "suspect_bytes") > leak_threshold->value);
}

/* "ended with status 3", "was killed by signal 11 (Segmentation fault)" */
static void add_end(struct kms_text *text, const struct kms_run_info *info)
{
	int status = info->wait_status;

	if (status >= 0 && WIFSIGNALED(status))
		kms_text_addf(text, "was killed by signal %d (%s)", WTERMSIG(status),
			      sigdescr_np(WTERMSIG(status)) ? sigdescr_np(WTERMSIG(status)) : "?");
	else if (status >= 0 && WIFEXITED(status))
		kms_text_addf(text, "ended with status %d", WEXITSTATUS(status));
	else if (info->let_go)
		kms_text_addf(text, "goes on without us");
	else
		kms_text_addf(text, "ended");
}

static void add_label(struct kms_text *text, const char *label)
{
	kms_text_style(text, KMS_STYLE_HEAD, "  %-8s", label);
}

static void add_figures(struct kms_text *text, const struct kms_run_info *info, const cJSON *stats)
{
	const cJSON *ring = kms_json_member(stats, "ring");
	uint64_t lost = kms_json_number(ring, "lost");

	add_label(text, "events");
	kms_text_addf(text, "%s stored, ", kms_fmt_count(kms_json_number(ring, "stored")).text);
	kms_text_style(text, lost ? KMS_STYLE_BAD : KMS_STYLE_PLAIN, "%s lost",
		       lost ? kms_fmt_count(lost).text : "none");
	if (info->tracer_lost)
		kms_text_style(text, KMS_STYLE_BAD, " until the tracer was; none of later ones");
	kms_text_addf(text, "%s\n", info->n_earlier ? ", since the last daemon took over" : "");
	add_label(text, "memory");
	kms_text_addf(text, "%s in %s blocks live, peak %s; %s allocations, %s frees\n",
		      kms_fmt_bytes(kms_json_number(stats, "live_bytes")).text,
		      kms_fmt_count(kms_json_number(stats, "live_objects")).text,
		      kms_fmt_bytes(kms_json_number(stats, "peak_bytes")).text,
		      kms_fmt_count(kms_json_number(stats, "allocs")).text,
		      kms_fmt_count(kms_json_number(stats, "frees")).text);
}

static void add_faults(struct kms_text *text, const cJSON *faults)
{
	uint64_t total = kms_json_number(faults, "total");

	add_label(text, "faults");
	if (total == 0) {
		kms_text_addf(text, "none\n");
		return;
	}
	kms_text_style(text, KMS_STYLE_BAD, "%s\n", kms_fmt_count(total).text);
	kms_show_headlines(text, kms_json_member(faults, "items"), TOP_FAULTS);
	if (total > TOP_FAULTS)
		kms_text_addf(text, "    ... %s more\n", kms_fmt_count(total - TOP_FAULTS).text);
}

static void add_leaks(struct kms_text *text, const cJSON *leaks)
{
	const struct kms_suspects how = {.max = TOP_LEAKS, .frames = TOP_FRAMES, .indent = 4};
	uint64_t suspects = kms_json_number(leaks, "suspects");

	add_label(text, "leaks");
	kms_show_leak_totals(text, leaks);
	kms_show_suspects(text, kms_json_member(leaks, "items"), &how);
	if (suspects > TOP_LEAKS)
		kms_text_addf(text, "    ... %s more\n", kms_fmt_count(suspects - TOP_LEAKS).text);
}

/* Traces that end where a daemon died. */
static void add_earlier(struct kms_text *text, const struct kms_run_info *info, uint64_t faults)
{
	if (!info->n_earlier)
		return;
	add_label(text, "before");
	kms_text_addf(text,
		      "%u %s of this run lost %s daemon; what it stored until then, with %s "
		      "fault%s, is in\n",
		      info->n_earlier, info->n_earlier == 1 ? "part" : "parts",
		      info->n_earlier == 1 ? "its" : "their",
		      faults ? kms_fmt_count(faults).text : "no", faults == 1 ? "" : "s");
	for (unsigned i = 0; i < info->n_earlier && i < KMS_RUN_INFO_EARLIER; i++) {
		add_label(text, "");
		kms_text_path(text, info->earlier[i]);
		kms_text_addf(text, "\n");
	}
}

/* Where it is and how to see more. */
static void add_way_on(struct kms_text *text, const struct kms_run_info *info,
		       const struct kms_summary *summary)
{
	const cJSON *tracer = kms_json_member(summary->stats, "tracer");

	add_label(text, "trace");
	kms_text_path(text, info->file);
	if (tracer)
		kms_text_addf(text, " (%s)",
			      kms_fmt_bytes(kms_json_number(tracer, "db_bytes")).text);
	kms_text_addf(text, "\n");
	if (info->background) {
		add_label(text, "");
		if (info->n_others == 1)
			kms_text_addf(text, "1 other process of the tree lives: the tracer goes on "
					    "without us until it ends\n");
		else
			kms_text_addf(text,
				      "%" PRIu32 " other processes of the tree live: the tracer "
				      "goes on without us until they end\n",
				      info->n_others);
	}
	add_label(text, "more");
	kms_text_addf(text, "kmemscope leaks|faults|stats|caches|sql ... ");
	kms_text_path(text, info->file);
	kms_text_addf(text, "\n");
}

void kms_summary_print(const struct kms_cli *cli, const struct kms_run_info *info,
		       const struct kms_summary *summary, FILE *to)
{
	struct kms_text text;
	uint64_t time_ns = kms_json_number(kms_json_member(summary->stats, "snapshot"), "time_ns");

	kms_text_init(&text, cli);
	text.color = cli->color && isatty(fileno(to));
	if (info->pid)
		kms_text_addf(&text, "kmemscope: pid %d ", (int)info->pid);
	else /* a guest whose emulator is not known: saved memory, a stub elsewhere */
		kms_text_addf(&text, "kmemscope: the guest ");
	add_end(&text, info);
	/* The picture may still be empty though much is stored. */
	if (time_ns)
		kms_text_addf(&text, " after %s\n", kms_fmt_ns(time_ns).text);
	else if (info->tracer_lost)
		kms_text_addf(&text, "; the tracer was lost before anything of it was stored\n");
	else if (info->background)
		kms_text_addf(&text, "; the picture of it is still being made\n");
	else
		kms_text_addf(&text, "; nothing of it was traced: did it allocate anything?\n");
	if (summary->stats && time_ns)
		add_figures(&text, info, summary->stats);
	if (summary->faults)
		add_faults(&text, summary->faults);
	if (summary->leaks)
		add_leaks(&text, summary->leaks);
	add_earlier(&text, info, summary->earlier_faults);
	add_way_on(&text, info, summary);
	kms_text_print(&text, to);
}
