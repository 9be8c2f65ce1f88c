// SPDX-License-Identifier: BSD-2-Clause
import {render} from 'preact';
import 'uplot/dist/uPlot.min.css';
import './style.css';
import {login, takeToken} from './api';
import {App} from './app';
import {Live} from './live';

async function start(): Promise<void> {
	const token = takeToken();
	const place = document.getElementById('app');

	// a token that was used already: the page asks for another if its cookie is not good either
	if (token) await login(token).catch(() => undefined);
	if (place) render(<App live={new Live()} />, place);
}

void start();
