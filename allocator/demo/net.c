/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wm0, a network card: packets come in by interrupt, are sorted to sockets by the soft interrupt and
 * read by the thread, which also sends. What it says about a sent packet comes from a pool, whose
 * objects are of a size that the boot variables put under guard (kernel.c). Planted here: an overflow
 * by one byte, and a use of such an object after it was put.
 */
#include <string.h>

#include "allocator/demo/kernel.h"
#include "allocator/kmem.h"

enum {
	SOCKETS = 8,
	PACKET_MIN = 46,
	PACKET_MAX = 1500,
	BURST_MAX = 4,
	RING_MAX = 256,
	OPTION_BYTES = 40,
	DESCRIPTOR_MAGIC = 0x776d,
};

struct net_mbuf {
	struct net_mbuf *next;
	size_t length;
	uint8_t data[];
};

/* What the card is told about a packet. Constructed: the fields that never change. */
struct net_descriptor {
	uint32_t magic;
	uint32_t flags;
	size_t length;
	const void *data;
	uint8_t status[200];
};

struct net_socket {
	struct net_mbuf *received;
	uint64_t packets;
};

struct net_softc {
	struct net_mbuf *ring; /* received, not yet sorted */
	unsigned n_ring;
	uint64_t dropped;
	uint64_t sent_bytes;
	struct net_socket *socket; /* SOCKETS of them */
	pool_cache_t descriptors;
};

static int net_descriptor_construct(void *argument, void *object, int flags)
{
	struct net_descriptor *descriptor = object;

	(void)argument;
	(void)flags;
	*descriptor = (struct net_descriptor){.magic = DESCRIPTOR_MAGIC};
	return 0;
}

static void net_attach(struct kms_driver *driver)
{
	struct net_softc *sc = kmem_zalloc(sizeof(*sc), KM_SLEEP);

	sc->socket = kmem_zalloc(SOCKETS * sizeof(*sc->socket), KM_SLEEP);
	sc->descriptors = pool_cache_init(sizeof(struct net_descriptor), 0, 0, 0, "wm0desc", NULL,
					  IPL_NONE, net_descriptor_construct, NULL, NULL);
	driver->softc = sc;
}

static size_t net_packet_length(struct kms_driver *driver)
{
	/* Most packets are short (acknowledgements) or full. */
	switch (kms_rng_below(&driver->rng, 4)) {
	case 0:
		return PACKET_MAX;
	case 1:
		return kms_rng_between(&driver->rng, PACKET_MIN, PACKET_MAX);
	default:
		return kms_rng_between(&driver->rng, PACKET_MIN, UINT64_C(3) * PACKET_MIN);
	}
}

/* No memory: the packet is lost, which networks must live with. */
static void net_receive_packet(struct kms_driver *driver)
{
	struct net_softc *sc = driver->softc;
	size_t length = net_packet_length(driver);
	struct net_mbuf *mbuf = kmem_intr_alloc(sizeof(*mbuf) + length, KM_NOSLEEP);

	if (!mbuf) {
		sc->dropped++;
		return;
	}
	mbuf->length = length;
	memset(mbuf->data, (int)(length & 0xff), length);
	mbuf->next = sc->ring;
	sc->ring = mbuf;
	sc->n_ring++;
}

static void net_interrupt(struct kms_driver *driver)
{
	struct net_softc *sc = driver->softc;
	uint64_t burst = kms_rng_between(&driver->rng, 1, BURST_MAX);

	for (; burst && sc->n_ring < RING_MAX && driver->ops_left; burst--)
		net_receive_packet(driver);
	if (sc->ring)
		kms_cpu_soft_interrupt(driver);
}

/* Every fourth packet has a bad checksum and is dropped here. */
static void net_soft_interrupt(struct kms_driver *driver)
{
	struct net_softc *sc = driver->softc;

	while (sc->ring) {
		struct net_mbuf *mbuf = sc->ring;
		struct net_socket *socket = &sc->socket[mbuf->length % SOCKETS];

		sc->ring = mbuf->next;
		sc->n_ring--;
		if (mbuf->length % 4 == 0) {
			kmem_intr_free(mbuf, sizeof(*mbuf) + mbuf->length);
			continue;
		}
		mbuf->next = socket->received;
		socket->received = mbuf;
		socket->packets++;
	}
}

static void net_socket_read(struct net_socket *socket)
{
	while (socket->received) {
		struct net_mbuf *mbuf = socket->received;

		socket->received = mbuf->next;
		kmem_free(mbuf, sizeof(*mbuf) + mbuf->length);
	}
}

static void net_send(struct kms_driver *driver)
{
	struct net_softc *sc = driver->softc;
	size_t length = net_packet_length(driver);
	struct net_mbuf *mbuf = kmem_alloc(sizeof(*mbuf) + length, KM_SLEEP);
	struct net_descriptor *descriptor = pool_cache_get(sc->descriptors, PR_WAITOK);

	mbuf->length = length;
	memset(mbuf->data, 0x5a, length);
	descriptor->data = mbuf->data;
	descriptor->length = length;
	sc->sent_bytes += descriptor->length;
	descriptor->data = NULL;
	pool_cache_put(sc->descriptors, descriptor);
	kmem_free(mbuf, sizeof(*mbuf) + length);
}

/* The packet is said to be sent, and then its status is looked at once more. */
KMS_BUG_FUNCTION void net_use_descriptor_after_put(struct kms_driver *driver)
{
	struct net_softc *sc = driver->softc;
	volatile struct net_descriptor *descriptor = pool_cache_get(sc->descriptors, PR_WAITOK);
	int line;

	pool_cache_put(sc->descriptors, (void *)descriptor);
	line = __LINE__ + 1;
	(void)descriptor->flags;
	kms_bug_record(driver->kernel, KMS_BUG_USE_AFTER_PUT,
		       KMS_BUG_PLACE(line, (const void *)descriptor, sizeof(*descriptor)));
}

static void net_use_descriptor(struct net_softc *sc)
{
	volatile struct net_descriptor *descriptor = pool_cache_get(sc->descriptors, PR_WAITOK);

	(void)descriptor->flags;
	pool_cache_put(sc->descriptors, (void *)descriptor);
}

static void net_check_status(struct kms_driver *driver)
{
	if (!kms_bug_due(driver, KMS_BUG_USE_AFTER_PUT))
		return;
	if (kms_bug_planted(driver->kernel, KMS_BUG_USE_AFTER_PUT))
		net_use_descriptor_after_put(driver);
	else
		net_use_descriptor(driver->softc);
}

/* Copies the options of a header and terminates them, one byte behind the buffer. */
KMS_BUG_FUNCTION void net_overflow_options(struct kms_driver *driver)
{
	volatile char *options = kmem_alloc(OPTION_BYTES, KM_SLEEP);
	int line;

	for (int i = 0; i < OPTION_BYTES; i++)
		options[i] = (char)i;
	line = __LINE__ + 1;
	options[OPTION_BYTES] = 0;
	kmem_free((void *)options, OPTION_BYTES);
	kms_bug_record(driver->kernel, KMS_BUG_OVERFLOW,
		       KMS_BUG_PLACE(line, (const void *)options, OPTION_BYTES));
}

static void net_copy_options(void)
{
	volatile char *options = kmem_alloc(OPTION_BYTES, KM_SLEEP);

	for (int i = 0; i < OPTION_BYTES; i++)
		options[i] = (char)i;
	options[OPTION_BYTES - 1] = 0;
	kmem_free((void *)options, OPTION_BYTES);
}

static void net_parse_options(struct kms_driver *driver)
{
	if (!kms_bug_due(driver, KMS_BUG_OVERFLOW))
		return;
	if (kms_bug_planted(driver->kernel, KMS_BUG_OVERFLOW))
		net_overflow_options(driver);
	else
		net_copy_options();
}

static void net_work(struct kms_driver *driver)
{
	struct net_softc *sc = driver->softc;

	net_parse_options(driver);
	net_check_status(driver);
	net_send(driver);
	net_socket_read(&sc->socket[kms_rng_below(&driver->rng, SOCKETS)]);
}

static void net_detach(struct kms_driver *driver)
{
	struct net_softc *sc = driver->softc;

	for (int i = 0; i < SOCKETS; i++)
		net_socket_read(&sc->socket[i]);
	pool_cache_destroy(sc->descriptors);
	kmem_free(sc->socket, SOCKETS * sizeof(*sc->socket));
	kmem_free(sc, sizeof(*sc));
	driver->softc = NULL;
}

const struct kms_driver_class kms_net_class = {
	.name = "wm0",
	.attach = net_attach,
	.work = net_work,
	.interrupt = net_interrupt,
	.soft_interrupt = net_soft_interrupt,
	.detach = net_detach,
};
