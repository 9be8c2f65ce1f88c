/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * com0, a serial line: characters come in by interrupt, the soft interrupt makes lines of them, the
 * thread keeps the last ones as history. Planted here: a use after free and an underflow.
 *
 * Lines are the blocks that the boot variables put under guard (kernel.c).
 */
#include <string.h>

#include "allocator/demo/kernel.h"
#include "allocator/kmem.h"

enum {
	HISTORY_LINES = 24,
	LINE_TEXT_MIN = 180,
	LINE_TEXT_MAX = 224,
	LINES_WAITING_MAX = 16,
	ERASE_BYTES = 88,
};

struct tty_line {
	struct tty_line *next;
	size_t length;
	char text[];
};

struct tty_softc {
	struct tty_line *waiting; /* complete, not yet read */
	unsigned n_waiting;
	struct tty_line *history[HISTORY_LINES];
	unsigned oldest;
	uint64_t characters;
	bool line_complete;
};

static size_t tty_line_bytes(const struct tty_line *line)
{
	return sizeof(*line) + line->length;
}

static void tty_attach(struct kms_driver *driver)
{
	driver->softc = kmem_zalloc(sizeof(struct tty_softc), KM_SLEEP);
}

static void tty_interrupt(struct kms_driver *driver)
{
	struct tty_softc *sc = driver->softc;

	sc->characters += kms_rng_between(&driver->rng, LINE_TEXT_MIN, LINE_TEXT_MAX);
	if (driver->ops_left)
		kms_cpu_soft_interrupt(driver);
}

static void tty_soft_interrupt(struct kms_driver *driver)
{
	struct tty_softc *sc = driver->softc;
	size_t length = kms_rng_between(&driver->rng, LINE_TEXT_MIN, LINE_TEXT_MAX);
	struct tty_line *line;

	if (sc->n_waiting >= LINES_WAITING_MAX)
		return;
	line = kmem_intr_alloc(sizeof(*line) + length, KM_NOSLEEP);
	if (!line)
		return;
	line->length = length;
	memset(line->text, 'a', length);
	line->next = sc->waiting;
	sc->waiting = line;
	sc->n_waiting++;
}

static void tty_remember(struct tty_softc *sc, struct tty_line *line)
{
	struct tty_line **slot = &sc->history[sc->oldest];

	if (*slot)
		kmem_free(*slot, tty_line_bytes(*slot));
	*slot = line;
	sc->oldest = (sc->oldest + 1) % HISTORY_LINES;
}

static void tty_read_lines(struct tty_softc *sc)
{
	while (sc->waiting) {
		struct tty_line *line = sc->waiting;

		sc->waiting = line->next;
		sc->n_waiting--;
		tty_remember(sc, line);
	}
}

/* Echo: a short-lived copy of what was typed. */
static void tty_echo(struct kms_driver *driver)
{
	size_t bytes = kms_rng_between(&driver->rng, 1, 80);
	char *echo = kmem_alloc(bytes, KM_SLEEP);

	memset(echo, 'e', bytes);
	kmem_free(echo, bytes);
}

static struct tty_line *tty_line_create(void)
{
	struct tty_line *line = kmem_zalloc(sizeof(*line) + LINE_TEXT_MAX, KM_SLEEP);

	line->length = LINE_TEXT_MAX;
	return line;
}

/* The line was closed, and its first character is looked at once more. */
KMS_BUG_FUNCTION void tty_use_after_free(struct kms_driver *driver)
{
	struct tty_line *line = tty_line_create();
	volatile const char *text = line->text;
	size_t bytes = tty_line_bytes(line);
	int bad_line;

	kmem_free(line, bytes);
	bad_line = __LINE__ + 1;
	(void)text[0];
	kms_bug_record(driver->kernel, KMS_BUG_USE_AFTER_FREE,
		       KMS_BUG_PLACE(bad_line, (const void *)text, bytes));
}

static void tty_use_before_free(void)
{
	struct tty_line *line = tty_line_create();
	volatile const char *text = line->text;

	(void)text[0];
	kmem_free(line, tty_line_bytes(line));
}

static void tty_close_line(struct kms_driver *driver)
{
	if (!kms_bug_due(driver, KMS_BUG_USE_AFTER_FREE))
		return;
	if (kms_bug_planted(driver->kernel, KMS_BUG_USE_AFTER_FREE))
		tty_use_after_free(driver);
	else
		tty_use_before_free();
}

/* Erases a word and goes one character too far. */
KMS_BUG_FUNCTION void tty_underflow_erase(struct kms_driver *driver)
{
	volatile char *word = kmem_alloc(ERASE_BYTES, KM_SLEEP);
	int line = 0;

	for (int i = ERASE_BYTES - 1; i >= 0; i--)
		word[i] = ' ';
	line = __LINE__ + 1;
	word[-1] = ' ';
	kmem_free((void *)word, ERASE_BYTES);
	kms_bug_record(driver->kernel, KMS_BUG_UNDERFLOW,
		       KMS_BUG_PLACE(line, (const void *)word, ERASE_BYTES));
}

static void tty_plain_erase(void)
{
	volatile char *word = kmem_alloc(ERASE_BYTES, KM_SLEEP);

	for (int i = ERASE_BYTES - 1; i >= 0; i--)
		word[i] = ' ';
	kmem_free((void *)word, ERASE_BYTES);
}

static void tty_erase_word(struct kms_driver *driver)
{
	if (!kms_bug_due(driver, KMS_BUG_UNDERFLOW))
		return;
	if (kms_bug_planted(driver->kernel, KMS_BUG_UNDERFLOW))
		tty_underflow_erase(driver);
	else
		tty_plain_erase();
}

static void tty_work(struct kms_driver *driver)
{
	struct tty_softc *sc = driver->softc;

	tty_close_line(driver);
	tty_erase_word(driver);
	tty_read_lines(sc);
	tty_echo(driver);
}

static void tty_detach(struct kms_driver *driver)
{
	struct tty_softc *sc = driver->softc;

	tty_read_lines(sc);
	for (int i = 0; i < HISTORY_LINES; i++) {
		if (sc->history[i])
			kmem_free(sc->history[i], tty_line_bytes(sc->history[i]));
	}
	kmem_free(sc, sizeof(*sc));
	driver->softc = NULL;
}

const struct kms_driver_class kms_tty_class = {
	.name = "com0",
	.attach = tty_attach,
	.work = tty_work,
	.interrupt = tty_interrupt,
	.soft_interrupt = tty_soft_interrupt,
	.detach = tty_detach,
};
