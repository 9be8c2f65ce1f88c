/*
 * Runs a fuzz harness over a corpus: fuzz_x FOLDER...
 *
 * For builds without libFuzzer, so that every crash once found stays found in every build. Each file
 * is replayed whole and cut after each of its first bytes, and the empty input once; a copy of
 * exactly the input's size lets the address sanitizer see reads behind it. Exit 1: no input in a
 * folder, or one that cannot be read.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/test/fuzz_entry.h"

enum {
	INPUT_LIMIT_BYTES = 16 << 20,
	N_CUTS = 64,
};

static void run_one(const char *bytes, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	if (!copy) {
		perror("fuzz_replay");
		exit(1);
	}
	memcpy(copy, bytes, n);
	(void)LLVMFuzzerTestOneInput(copy, n); /* 0 by contract */
	free(copy);
}

static bool replay_file(const char *path)
{
	KMS_AUTO_FREE char *bytes = NULL;
	struct kms_err err;
	size_t n;

	if (kms_read_file(path, INPUT_LIMIT_BYTES, &bytes, &n, &err)) {
		fprintf(stderr, "%s: %s\n", path, err.text);
		return false;
	}
	/* named before it runs: after a crash the last line says which input it was */
	printf("%s (%zu bytes)\n", path, n);
	(void)fflush(stdout); /* a lost line is no reason to stop */
	run_one(bytes, n);
	for (size_t cut = 0; cut < n && cut < N_CUTS; cut++)
		run_one(bytes, cut);
	return true;
}

/* Replays each file of a folder; returns how many, -1 if something could not be read. */
static int replay_folder(const char *folder)
{
	KMS_AUTO_CLOSEDIR DIR *dir = opendir(folder);
	const struct dirent *entry;
	char path[4096];
	int n = 0;

	if (!dir) {
		perror(folder);
		return -1;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) >=
		    (int)sizeof(path))
			return -1;
		if (!replay_file(path))
			return -1;
		n++;
	}
	return n;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int n = replay_folder(argv[i]);

		if (n <= 0) {
			fprintf(stderr, "%s: no input replayed\n", argv[i]);
			return 1;
		}
		total += n;
	}
	run_one("", 0);
	printf("%d inputs replayed\n", total);
	return total > 0 ? 0 : 1;
}
