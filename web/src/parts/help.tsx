// SPDX-License-Identifier: BSD-2-Clause
import {useEffect, useRef} from 'preact/hooks';

/** Keys and what they do: the table that the handler works by is the table that is shown. */
export interface Key {
	key: string;
	what: string;
	run: () => void;
}

export function Help({keys, open, close}: {keys: Key[]; open: boolean; close: () => void}) {
	const dialog = useRef<HTMLDialogElement>(null);

	useEffect(() => {
		if (open) dialog.current?.showModal();
		else dialog.current?.close();
	}, [open]);
	return (
		<dialog ref={dialog} onClose={close} aria-labelledby="help-title">
			<h2 id="help-title">Keys</h2>
			<dl class="keys">
				{keys.map((k) => (
					<div key={k.key}>
						<dt>
							<kbd>{k.key}</kbd>
						</dt>
						<dd>{k.what}</dd>
					</div>
				))}
				<div>
					<dt>
						<kbd>j</kbd> <kbd>k</kbd> <kbd>Enter</kbd>
					</dt>
					<dd>in a table: next row, row before, open the row</dd>
				</div>
			</dl>
			<p>
				Everything here is in the API: <a href="/openapi.json">openapi.json</a>, <a href="/metrics">metrics</a>,{' '}
				<a href="/licenses.txt">licences</a>.
			</p>
			<button type="button" onClick={close}>
				Close
			</button>
		</dialog>
	);
}
