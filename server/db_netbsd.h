/* SPDX-License-Identifier: BSD-2-Clause */
/* A pool of a NetBSD guest in the lines of its own ddb. Private to db_*.c. */
#ifndef KMS_SERVER_DDB_NETBSD_H
#define KMS_SERVER_DDB_NETBSD_H

struct kms_ddb;
struct kms_view_cache;

/** What `show pool` prints; cache->pool is not NULL. Pages are not in it. */
void kms_ddb_say_netbsd_pool(struct kms_ddb *db, const struct kms_view_cache *cache);

#endif
