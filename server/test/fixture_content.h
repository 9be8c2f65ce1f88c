/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the tests' view: its content, and what that has in common with its functions.
 */
#ifndef KMS_SERVER_TEST_FIXTURE_CONTENT_H
#define KMS_SERVER_TEST_FIXTURE_CONTENT_H

#include "server/test/fixture_view.h"

/* A name as a hostile program would choose it. */
#define FIXTURE_HOSTILE "</script>\x1b]52;c;\x07\"\\\n\xff\xe2\x80\xae<img src=x>"

#define FIXTURE_HEAP    UINT64_C(0x7f3c00040000)      /* where the blocks lie */
#define FIXTURE_WALL_NS UINT64_C(1790000000123456789) /* when the run began */

/** Fills in the snapshot and the rows it points to. */
void fixture_fill(struct fixture *f, bool live);

#endif
