// SPDX-License-Identifier: BSD-2-Clause
import {useState} from 'preact/hooks';
import {login} from '../api';

/** Asks for the token when the page was opened without one, or with one that was used already. */
export function Login({done}: {done: () => void}) {
	const [token, setToken] = useState('');
	const [said, setSaid] = useState('');
	const submit = async (event: Event) => {
		event.preventDefault();
		try {
			await login(token.trim());
			done();
		} catch (problem) {
			setSaid(problem instanceof Error ? problem.message : String(problem));
		}
	};

	return (
		<section class="login" aria-labelledby="login-title">
			<h2 id="login-title">Token</h2>
			<p>
				kmemscope printed an address with <span class="code">#token=…</span> on its terminal. A token opens one browser; open
				that address, or paste the token here.
			</p>
			<form onSubmit={submit}>
				<label for="token">Token</label>
				<input id="token" type="password" autocomplete="off" value={token} onInput={(e) => setToken(e.currentTarget.value)} />
				<button type="submit">Open</button>
				<p role="status" class="warn">
					{said}
				</p>
			</form>
		</section>
	);
}
