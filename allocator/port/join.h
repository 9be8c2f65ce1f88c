/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where this process makes its region, so that a tracer finds it.
 *
 *	KMEMSCOPE_RUN     folder of a run, made by the tracer that started the process
 *	KMEMSCOPE_SOCKET  socket of a daemon: the region goes to the folder `join` beside it, from where
 *	                  the daemon moves it to the run of the process's tree
 *
 * No message goes to the daemon and none comes from it: a program's first allocation is no place for a
 * conversation, and what stands in a folder is still there when the daemon comes later.
 */
#ifndef KMS_ALLOCATOR_PORT_JOIN_H
#define KMS_ALLOCATOR_PORT_JOIN_H

#include <stdbool.h>

/** A folder for the region. */
struct kms_join {
	char folder[1024]; /* "": none, this process is not traced */
	bool is_unread; /* the daemon has died: nobody reads what is written until another one comes */
};

/**
 * Finds the folder that the environment names. What is wrong with KMEMSCOPE_SOCKET is said on stderr in
 * one line; errno stays.
 */
void kms_join_find(struct kms_join *join);

#endif
