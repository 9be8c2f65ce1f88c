/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wd0, a disk: requests with bounce buffers go to the device, come back by interrupt, and are given
 * back by the soft interrupt. Planted here: a free with the wrong size.
 */
#include <string.h>

#include "allocator/demo/kernel.h"
#include "allocator/kmem.h"

enum {
	SECTOR_BYTES = 512,
	SECTORS_MAX = 8,
	QUEUE_MAX = 64,
	COMPLETIONS_MAX = 8, /* of one interrupt */
	ERROR_ONE_IN = 50,
};

struct disk_request {
	struct disk_request *next;
	void *bounce; /* the device cannot reach the caller's memory */
	size_t bounce_bytes;
	uint64_t sector;
	bool write;
	bool failed;
};

/* What the device says about an error. */
struct disk_sense {
	uint8_t key;
	uint8_t code;
	uint8_t text[16];
};

struct disk_softc {
	struct disk_request *submitted;
	struct disk_request *completed;
	unsigned n_submitted;
	struct disk_sense *sense;
	uint64_t errors;
	char lock;
};

static void disk_attach(struct kms_driver *driver)
{
	driver->softc = kmem_zalloc(sizeof(struct disk_softc), KM_SLEEP);
}

static struct disk_request *disk_request_create(struct kms_driver *driver)
{
	struct disk_request *request = kmem_zalloc(sizeof(*request), KM_SLEEP);

	request->bounce_bytes = SECTOR_BYTES * kms_rng_between(&driver->rng, 1, SECTORS_MAX);
	request->bounce = kmem_alloc(request->bounce_bytes, KM_SLEEP);
	request->sector = kms_rng_below(&driver->rng, 1 << 20);
	request->write = kms_rng_below(&driver->rng, 3) == 0;
	if (request->write)
		memset(request->bounce, (int)(request->sector & 0xff), request->bounce_bytes);
	return request;
}

static void disk_submit(struct disk_softc *sc, struct disk_request *request)
{
	kms_spin_enter(&sc->lock);
	request->next = sc->submitted;
	sc->submitted = request;
	sc->n_submitted++;
	kms_spin_exit(&sc->lock);
}

/* The device has done some requests. No memory is freed at this level. */
static void disk_interrupt(struct kms_driver *driver)
{
	struct disk_softc *sc = driver->softc;

	for (int i = 0; i < COMPLETIONS_MAX && sc->submitted; i++) {
		struct disk_request *request = sc->submitted;

		sc->submitted = request->next;
		sc->n_submitted--;
		request->failed = kms_rng_below(&driver->rng, ERROR_ONE_IN) == 0;
		if (request->failed && !sc->sense)
			sc->sense = kmem_intr_zalloc(sizeof(*sc->sense), KM_NOSLEEP);
		request->next = sc->completed;
		sc->completed = request;
	}
	if (sc->completed)
		kms_cpu_soft_interrupt(driver);
}

static void disk_request_destroy(struct disk_request *request)
{
	kmem_intr_free(request->bounce, request->bounce_bytes);
	kmem_intr_free(request, sizeof(*request));
}

static void disk_soft_interrupt(struct kms_driver *driver)
{
	struct disk_softc *sc = driver->softc;

	while (sc->completed) {
		struct disk_request *request = sc->completed;

		sc->completed = request->next;
		sc->errors += request->failed;
		disk_request_destroy(request);
	}
	if (sc->sense) {
		kmem_intr_free(sc->sense, sizeof(*sc->sense));
		sc->sense = NULL;
	}
}

/* Counts the buffer in sectors and forgets the one with the label. */
KMS_BUG_FUNCTION void disk_wrong_size_free(struct kms_driver *driver)
{
	size_t bytes = (size_t)3 * SECTOR_BYTES;
	void *label = kmem_alloc(bytes, KM_SLEEP);
	int line = __LINE__ + 1;
	kmem_free(label, bytes - SECTOR_BYTES);
	kms_bug_record(driver->kernel, KMS_BUG_WRONG_SIZE, KMS_BUG_PLACE(line, label, bytes));
}

static void disk_right_size_free(void)
{
	size_t bytes = (size_t)3 * SECTOR_BYTES;
	void *label = kmem_alloc(bytes, KM_SLEEP);

	kmem_free(label, bytes);
}

static void disk_write_label(struct kms_driver *driver)
{
	if (!kms_bug_due(driver, KMS_BUG_WRONG_SIZE))
		return;
	if (kms_bug_planted(driver->kernel, KMS_BUG_WRONG_SIZE))
		disk_wrong_size_free(driver);
	else
		disk_right_size_free();
}

static void disk_work(struct kms_driver *driver)
{
	struct disk_softc *sc = driver->softc;

	disk_write_label(driver);
	if (sc->n_submitted < QUEUE_MAX)
		disk_submit(sc, disk_request_create(driver));
}

static void disk_detach(struct kms_driver *driver)
{
	kmem_free(driver->softc, sizeof(struct disk_softc));
	driver->softc = NULL;
}

const struct kms_driver_class kms_disk_class = {
	.name = "wd0",
	.attach = disk_attach,
	.work = disk_work,
	.interrupt = disk_interrupt,
	.soft_interrupt = disk_soft_interrupt,
	.detach = disk_detach,
};
