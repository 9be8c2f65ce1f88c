// SPDX-License-Identifier: BSD-2-Clause
import {useState} from 'preact/hooks';
import {frame, stackText} from '../format';
import type {Frame} from '../types';

/** A stack, innermost frame first, and a button that copies it as text. */
export function Stack({stack, title}: {stack: Frame[]; title?: string}) {
	const [copied, setCopied] = useState(false);

	if (stack.length === 0) return <p class="quiet">No stack: allocated before the trace, or recorded without stacks.</p>;
	const copy = async () => {
		try {
			await navigator.clipboard.writeText(stackText(stack));
			setCopied(true);
		} catch {
			setCopied(false);
		}
	};
	return (
		<div class="stack">
			{title && <h4>{title}</h4>}
			<ol start={0}>
				{stack.map((f) => (
					<li title={`${f.address} ${f.module ?? ''}`}>
						{frame(f)}
						{f.inlined && <span class="quiet"> inlined</span>}
					</li>
				))}
			</ol>
			<button type="button" onClick={copy}>
				{copied ? 'Copied' : 'Copy stack'}
			</button>
		</div>
	);
}
