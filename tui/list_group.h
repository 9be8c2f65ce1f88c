/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the lists: rows that belong together become one row with their sums.
 */
#ifndef KMS_TUI_LIST_GROUP_H
#define KMS_TUI_LIST_GROUP_H

#include "tui/list.h"

/** Groups the rows of a list, which are sorted, as its grouping says. -ENOMEM: they are as before. */
int kms_list_group(struct kms_list *list);

#endif
