// SPDX-License-Identifier: BSD-2-Clause
// The one stream of the page: documents by topic, as they change.

import type {Documents, Topic} from './types';
import {topics} from './types';

export type Connection = 'connecting' | 'live' | 'lost' | 'ended' | 'denied';

type Listener = () => void;

/** Rows of a list that the page asks for; a message of the stream holds 1 MiB. */
export const rowsMax = 200;

/** The last document of each topic, and how the connection is. Parts of the page listen. */
export class Live {
	/** What is shown: the incoming documents, unless the screen is frozen. */
	documents: Partial<Documents> = {};
	private incoming: Partial<Documents> = {};
	connection: Connection = 'connecting';
	frozen = false;
	private source: EventSource | null = null;
	private retry: number | null = null;
	private delay_ms = 500;
	private target: string | null = null;
	private readonly listeners = new Set<Listener>();

	constructor() {
		document.addEventListener('visibilitychange', () => this.follow());
	}

	listen(listener: Listener): () => void {
		this.listeners.add(listener);
		return () => this.listeners.delete(listener);
	}

	/** Begins, or begins anew for another target (null: all). */
	open(target: string | null): void {
		this.target = target;
		this.delay_ms = 500;
		this.incoming = this.incoming.targets ? {targets: this.incoming.targets} : {};
		this.frozen = false;
		this.connection = 'connecting';
		this.reopen();
	}

	/** A page that nobody sees needs no stream: a browser has six connections to a place in all. */
	private follow(): void {
		if (document.hidden) this.close();
		else if (this.connection !== 'ended' && this.connection !== 'denied') this.reopen();
	}

	private close(): void {
		this.source?.close();
		this.source = null;
		if (this.retry !== null) clearTimeout(this.retry);
		this.retry = null;
	}

	private reopen(): void {
		const query = new URLSearchParams({topics: topics.join(','), hz: '2', limit: String(rowsMax)});

		this.close();
		if (this.target) query.set('target', this.target);
		this.source = new EventSource(`/api/v1/stream?${query}`);
		this.source.addEventListener('hello', () => {
			this.delay_ms = 500;
			this.become('live');
		});
		this.source.addEventListener('bye', () => {
			this.close();
			this.become('ended');
		});
		this.source.addEventListener('error', () => void this.failed());
		for (const topic of topics)
			this.source.addEventListener(topic, (event) => this.take(topic, (event as MessageEvent<string>).data));
		this.tell();
	}

	/** EventSource does not say why: a request tells a refusal from a server that is gone. */
	private async failed(): Promise<void> {
		this.close();
		const status = await fetch('/api/v1/targets?limit=1', {credentials: 'same-origin'}).then(
			(response) => response.status,
			() => 0,
		);
		if (status === 401 || status === 403) {
			this.become('denied');
			return;
		}
		this.become('lost');
		this.retry = window.setTimeout(() => this.reopen(), this.delay_ms);
		this.delay_ms = Math.min(this.delay_ms * 2, 10000);
	}

	private take<T extends Topic>(topic: T, data: string): void {
		this.incoming[topic] = JSON.parse(data) as Documents[T];
		this.tell();
	}

	private become(connection: Connection): void {
		this.connection = connection;
		this.tell();
	}

	private tell(): void {
		if (!this.frozen) this.documents = {...this.incoming};
		for (const listener of this.listeners) listener();
	}

	/** Holds the figures still to be read, while they go on coming. */
	freeze(frozen: boolean): void {
		this.frozen = frozen;
		this.tell();
	}
}
