/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/test/emulator.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracer/process.h"

static const char program[] = "qemu-system-x86_64";

enum {
	WORDS = 64,
	DISK_BYTES = 1 << 20,
	DEADLINE_S = 60,
	LOOK_US = 5000, /* between two looks at a condition */
};

/*
 * 16 bit, loaded at 0x7c00, with interrupts off so that only it runs:
 *	cli; xor ax, ax; mov ds, ax; mov dword [0x8004], MARK
 *	again: mov eax, [0x8010]; mov [0x8014], eax; inc dword [0x8000]; jmp again
 */
static const uint8_t boot[] = {
	0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x66, 0xc7, 0x06, 0x04, 0x80, 0x31, 0x53, 0x4d, 0x4b, 0x66,
	0xa1, 0x10, 0x80, 0x66, 0xa3, 0x14, 0x80, 0x66, 0xff, 0x06, 0x00, 0x80, 0xeb, 0xf1,
};

static void require(bool is_true, const char *what)
{
	if (is_true)
		return;
	perror(what);
	exit(1);
}

bool emulator_is_there(void)
{
	const char *at = getenv("PATH");
	char path[4096];

	while (at && *at) {
		size_t n = strcspn(at, ":");

		(void)snprintf(path, sizeof(path), "%.*s/%s", (int)n, at, program);
		if (access(path, X_OK) == 0)
			return true;
		at += n + (at[n] == ':');
	}
	return false;
}

void emulator_prepare(struct emulator *emulator)
{
	uint8_t sector[512] = {0};
	FILE *file;

	memset(emulator, 0, sizeof(*emulator));
	strcpy(emulator->folder, "/tmp/kms-guest-XXXXXX");
	require(mkdtemp(emulator->folder) != NULL, "mkdtemp");
	(void)snprintf(emulator->disk, sizeof(emulator->disk), "%s/disk", emulator->folder);
	(void)snprintf(emulator->qmp, sizeof(emulator->qmp), "%s/qmp", emulator->folder);
	(void)snprintf(emulator->gdb, sizeof(emulator->gdb), "%s/gdb", emulator->folder);
	(void)snprintf(emulator->ram, sizeof(emulator->ram), "%s/ram", emulator->folder);
	memcpy(sector, boot, sizeof(boot));
	sector[510] = 0x55;
	sector[511] = 0xaa;
	file = fopen(emulator->disk, "we");
	require(file && fwrite(sector, sizeof(sector), 1, file) == 1 && fclose(file) == 0 &&
			truncate(emulator->disk, DISK_BYTES) == 0,
		"disk");
}

/* Puts the paths into a text. */
static void expand(const struct emulator *emulator, const char *words, char *text, size_t bytes)
{
	const struct {
		const char *name;
		const char *value;
	} names[] = {
		{"DISK", emulator->disk},
		{"QMP",  emulator->qmp },
		{"GDB",  emulator->gdb },
		{"RAM",  emulator->ram },
	};

	size_t used = 0;

	while (*words) {
		const char *value = NULL;

		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !value; i++) {
			if (strncmp(words, names[i].name, strlen(names[i].name)) != 0)
				continue;
			value = names[i].value;
			words += strlen(names[i].name);
		}
		used += (size_t)snprintf(text + used, bytes - used, "%.*s", value ? 255 : 1,
					 value ? value : words);
		words += value ? 0 : 1;
		require(used < bytes, "words");
	}
}

static void run(char *text)
{
	char *word[WORDS] = {(char *)(uintptr_t)program, (char *)(uintptr_t) "-display",
			     (char *)(uintptr_t) "none"};
	unsigned n = 3;
	char *rest = NULL;

	for (char *at = strtok_r(text, " ", &rest); at && n < WORDS - 1;
	     at = strtok_r(NULL, " ", &rest))
		word[n++] = at;
	/* ends with the test, however that ends; what it says is of no interest */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(open("/dev/null", O_RDWR), STDIN_FILENO);
	(void)dup2(STDIN_FILENO, STDOUT_FILENO);
	(void)dup2(STDIN_FILENO, STDERR_FILENO);
	(void)execvp(program, word);
	_exit(127);
}

void emulator_start(struct emulator *emulator, const char *words)
{
	static const char nice[] = "-nodefaults -no-user-config -drive file=DISK,format=raw";
	char text[2048], all[1024];
	const char *at = strstr(words, "NICE");

	if (at)
		(void)snprintf(all, sizeof(all), "%.*s%s%s", (int)(at - words), words, nice,
			       at + 4);
	expand(emulator, at ? all : words, text, sizeof(text));
	emulator->pid = fork();
	require(emulator->pid >= 0, "fork");
	if (emulator->pid == 0)
		run(text);
}

void emulator_wait_for(const char *path)
{
	uint64_t end = kms_mono_ns() + DEADLINE_S * UINT64_C(1000000000);

	while (access(path, F_OK) != 0) {
		require(kms_mono_ns() < end, path);
		(void)usleep(LOOK_US);
	}
}

static uint32_t word(struct kms_guest_memory *memory, uint64_t address)
{
	uint32_t value = 0;

	require(kms_guest_read(memory, address, &value, sizeof(value), NULL) == 0, "guest memory");
	return value;
}

uint32_t emulator_count(struct kms_guest_memory *memory)
{
	return word(memory, EMULATOR_COUNT);
}

void emulator_wait_guest(struct kms_guest_memory *memory)
{
	uint64_t end = kms_mono_ns() + DEADLINE_S * UINT64_C(1000000000);

	while (word(memory, EMULATOR_MARK) != EMULATOR_MARK_VALUE) {
		require(kms_mono_ns() < end, "the guest does not run");
		(void)usleep(LOOK_US);
	}
}

int emulator_wait_end(struct emulator *emulator)
{
	int status = 0;

	require(waitpid(emulator->pid, &status, 0) == emulator->pid, "waitpid");
	emulator->pid = 0;
	return status;
}

void emulator_kill(struct emulator *emulator)
{
	require(kill(emulator->pid, SIGKILL) == 0, "kill");
	(void)emulator_wait_end(emulator);
}

void emulator_drop(struct emulator *emulator)
{
	if (emulator->pid)
		emulator_kill(emulator);
	(void)unlink(emulator->disk);
	(void)unlink(emulator->qmp);
	(void)unlink(emulator->gdb);
	(void)unlink(emulator->ram);
	require(rmdir(emulator->folder) == 0, emulator->folder);
}
