// SPDX-License-Identifier: BSD-2-Clause
// Requests to the API, and the exchange of the one-time token for a cookie.

/** A refusal: the document of RFC 9457, or what the connection said. */
export class Problem extends Error {
	constructor(
		readonly status: number,
		title: string,
		readonly detail: string,
	) {
		super(detail || title);
	}
}

const base = '/api/v1';

async function problemOf(response: Response): Promise<Problem> {
	try {
		const body = (await response.json()) as {title?: string; detail?: string};
		return new Problem(response.status, body.title ?? response.statusText, body.detail ?? '');
	} catch {
		return new Problem(response.status, response.statusText, '');
	}
}

async function send(method: string, path: string, body?: unknown): Promise<Response> {
	const init: RequestInit = {method, credentials: 'same-origin', cache: 'no-store'};

	if (body !== undefined) {
		init.headers = {'Content-Type': 'application/json'};
		init.body = JSON.stringify(body);
	}
	let response: Response;
	try {
		response = await fetch(base + path, init);
	} catch {
		throw new Problem(0, 'no connection', 'kmemscope does not answer: it has ended, or its port has changed');
	}
	if (!response.ok) throw await problemOf(response);
	return response;
}

export async function get<T>(path: string): Promise<T> {
	return (await send('GET', path)).json() as Promise<T>;
}

export async function patch<T>(path: string, body: unknown): Promise<T> {
	return (await send('PATCH', path, body)).json() as Promise<T>;
}

export async function post<T>(path: string, body: unknown): Promise<T> {
	return (await send('POST', path, body)).json() as Promise<T>;
}

/** Exchanges a token for a cookie; the token is good once. */
export async function login(token: string): Promise<void> {
	await send('POST', '/session', {token});
}

/** Takes #token=… out of the address, so that it stands in no history and no bookmark. */
export function takeToken(): string | null {
	const match = /(?:^#|&)token=([A-Za-z0-9_-]+)/.exec(location.hash);

	if (!match) return null;
	history.replaceState(null, '', location.pathname + location.search);
	return match[1] ?? null;
}
