/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the next daemon needs to know of a run, in its folder beside the regions: six lines
 *
 *	PID STARTED_MONO_NS STARTED_WALL_NS
 *	name of the program
 *	command line
 *	trace of the first daemon
 *	trace of the last one
 *	the guest, as it was asked for; empty: it is a process
 *
 * The folder is this user's alone; what is in the note is checked all the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "tracer/daemon_impl.h"

enum {
	NOTE_BYTES = 5 * PATH_MAX + 512,
};

#define NOTE_NAME "run.txt"

/* A line feed would begin the next line; names that have one are not worth more. */
static void add_line(struct kms_buf *buf, const char *text)
{
	for (; *text; text++)
		kms_buf_add_char(buf, *text == '\n' ? ' ' : *text);
	kms_buf_add_char(buf, '\n');
}

void daemon_note_write(const struct daemon_run *run)
{
	char path[PATH_MAX + 16];
	struct kms_buf buf;
	int fd;

	kms_buf_init(&buf, NOTE_BYTES);
	kms_buf_addf(&buf, "%ld %" PRIu64 " %" PRIu64 "\n", (long)run->pid, run->started_mono_ns,
		     run->started_wall_ns);
	add_line(&buf, run->name);
	add_line(&buf, run->command);
	add_line(&buf, run->first[0] ? run->first : run->output);
	add_line(&buf, run->output);
	add_line(&buf, run->guest ? run->guest->target : "");
	snprintf(path, sizeof(path), "%s/%s", run->run_dir, NOTE_NAME);
	/* without it the next daemon still finds the regions, and gives the trace a name of its own */
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && kms_buf_status(&buf) == 0)
		(void)kms_write_full(fd, buf.text, buf.used_bytes);
	if (fd >= 0)
		close(fd);
	kms_buf_deinit(&buf);
}

/* Takes the next line out of a text; NULL: there is none. */
static char *next_line(char **text)
{
	char *line = *text, *end = line ? strchr(line, '\n') : NULL;

	if (!end)
		return NULL;
	*end = '\0';
	*text = end + 1;
	return line;
}

static bool take_line(char **text, char *to, size_t room)
{
	const char *line = next_line(text);

	if (!line || strlen(line) >= room)
		return false;
	memcpy(to, line, strlen(line) + 1);
	return true;
}

/* The last line; a note of a process has none, or an empty one. */
static bool take_guest(char **text, struct daemon_run *run)
{
	const char *line = next_line(text);

	if (!line || !line[0])
		return true;
	run->guest = kms_guest_target_is(line) && strlen(line) < sizeof(run->guest->target)
			     ? calloc(1, sizeof(*run->guest))
			     : NULL;
	if (run->guest)
		snprintf(run->guest->target, sizeof(run->guest->target), "%s", line);
	return run->guest;
}

bool daemon_note_read(struct daemon_run *run)
{
	KMS_AUTO_FREE char *text = NULL;
	char path[PATH_MAX + 16];
	char *at, *line;
	size_t n;
	long pid;

	snprintf(path, sizeof(path), "%s/%s", run->run_dir, NOTE_NAME);
	if (kms_read_file(path, NOTE_BYTES, &text, &n, NULL) < 0)
		return false;
	at = text;
	line = next_line(&at);
	if (!line ||
	    sscanf(line, "%ld %" SCNu64 " %" SCNu64, &pid, &run->started_mono_ns,
		   &run->started_wall_ns) != 3 ||
	    pid <= 0 || pid > INT32_MAX)
		return false;
	run->pid = (pid_t)pid;
	return take_line(&at, run->name, sizeof(run->name)) &&
	       take_line(&at, run->command, sizeof(run->command)) &&
	       take_line(&at, run->first, sizeof(run->first)) &&
	       take_line(&at, run->continues, sizeof(run->continues)) && take_guest(&at, run) &&
	       /* a guest that is still waited for, or a Linux, has no trace */
	       (run->first[0] == '/' || (run->guest && !run->first[0]));
}
