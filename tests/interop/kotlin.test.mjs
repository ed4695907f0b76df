// A Kotlin program signs in at a certified authorization server through a real browser.
//
// Run it with `cargo xtask test kotlin`, which builds the program and says where it is.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { follow, startBrowser } from './browser.mjs';
import { CLIENT_ID, startProvider } from './provider.mjs';

const CLASSPATH = process.env.GATEPASS_KOTLIN;
const LIMIT = { timeout: 120_000, skip: CLASSPATH ? false : 'the part `kotlin` runs this' };

let provider;
let browser;

before(async () => {
  if (!CLASSPATH) return;
  provider = await startProvider();
  browser = await startBrowser();
}, LIMIT);

after(async () => {
  await browser?.close();
  await provider?.close();
}, LIMIT);

/** Runs the program to its end; `login` signs in when it asks for that. What it told. */
function run(t, folder, http, login) {
  const child = spawn(
    'java',
    ['-cp', CLASSPATH, 'io.gatepass.InteropProgramKt', provider.issuer, CLIENT_ID, folder, http],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  return follow(t, child, browser.context, login);
}

for (const http of ['built-in', 'okhttp']) {
  test(`a session from its first URL to its end, over two starts, HTTP: ${http}`, LIMIT, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'gatepass-kotlin-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    await browser.context.clearCookies();
    provider.clear();

    const first = await run(t, folder, http, 'ada');
    assert.deepEqual(first.map(({ event }) => event), ['authorization_url', 'signed_in', 'refreshed']);
    assert.equal(first[1].subject, 'ada');
    assert.equal(first[2].changed, true);

    const second = await run(t, folder, http);
    assert.deepEqual(second.map(({ event }) => event), ['found', 'api_call', 'userinfo', 'signed_out']);
    const [found, call, userinfo, signedOut] = second;
    assert.equal(found.subject, 'ada');
    assert.equal(call.status, 200);
    assert.equal(userinfo.claims.name, 'User ada');
    assert.deepEqual([signedOut.revocation, signedOut.state], ['Done', 'SignedOut']);

    // As the server saw it: one exchange, one refresh for twenty callers, and a grant that is over.
    assert.equal(provider.tokenRequests(), 2);
    assert.equal(provider.sentRefreshTokens().length, 1);
    assert.equal((await provider.refresh(provider.refreshTokens().at(-1))).status, 400);
  });
}
