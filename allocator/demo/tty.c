/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * com0, a serial line: characters come in by interrupt, the soft interrupt makes lines of them, the
 * thread keeps the last ones as history and writes a log into memory that may be paged out. Planted
 * here: a use after free, an underflow, and a write to the log in interrupt context.
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
	LOG_BYTES = 16384,
	LOG_COPY_BYTES = 32, /* of each line */
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
	ddi_umem_cookie_t log_cookie;
	volatile char *log; /* pageable */
	size_t log_end;
	void (*note_break)(struct kms_driver *driver); /* by the next interrupt */
};

static size_t tty_line_bytes(const struct tty_line *line)
{
	return sizeof(*line) + line->length;
}

static void tty_attach(struct kms_driver *driver)
{
	struct tty_softc *sc = kmem_zalloc(sizeof(*sc), KM_SLEEP);

	sc->log = ddi_umem_alloc(LOG_BYTES, DDI_UMEM_SLEEP | DDI_UMEM_PAGEABLE, &sc->log_cookie);
	driver->softc = sc;
}

static void tty_interrupt(struct kms_driver *driver)
{
	struct tty_softc *sc = driver->softc;

	sc->characters += kms_rng_between(&driver->rng, LINE_TEXT_MIN, LINE_TEXT_MAX);
	if (sc->note_break)
		sc->note_break(driver);
	sc->note_break = NULL;
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

static void tty_log(struct tty_softc *sc, const struct tty_line *line)
{
	for (size_t i = 0; i < LOG_COPY_BYTES; i++)
		sc->log[sc->log_end++ % LOG_BYTES] = line->text[i];
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
		tty_log(sc, line);
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

/* The interrupt has no time to wait for a page of the log. */
KMS_BUG_FUNCTION void tty_log_in_interrupt(struct kms_driver *driver)
{
	struct tty_softc *sc = driver->softc;
	int line = __LINE__ + 1;
	sc->log[0] = '!';
	kms_bug_record(driver->kernel, KMS_BUG_PAGEABLE,
		       KMS_BUG_PLACE(line, (const void *)sc->log, LOG_BYTES));
}

/* It notes in locked memory that there was something. */
static void tty_count_in_interrupt(struct kms_driver *driver)
{
	struct tty_softc *sc = driver->softc;

	sc->characters++;
}

static void tty_send_break(struct kms_driver *driver)
{
	struct tty_softc *sc = driver->softc;

	if (!kms_bug_due(driver, KMS_BUG_PAGEABLE))
		return;
	sc->note_break = kms_bug_planted(driver->kernel, KMS_BUG_PAGEABLE) ? tty_log_in_interrupt
									   : tty_count_in_interrupt;
}

static void tty_work(struct kms_driver *driver)
{
	struct tty_softc *sc = driver->softc;

	tty_close_line(driver);
	tty_erase_word(driver);
	tty_send_break(driver);
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
	ddi_umem_free(sc->log_cookie);
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
