// The `gatepass` program signs in at a certified authorization server through a real browser.
//
// Run it with `cargo xtask test interop`.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { cancel, openLogin, signIn, startBrowser } from './browser.mjs';
import { startSignIn } from './gatepass.mjs';
import { CLAIMED_HTTPS, startProvider } from './provider.mjs';

const WHOLE_LIFE = [
  'authorization_url',
  'redirect_received',
  'signed_in',
  'api_call',
  'refreshed',
  'api_call',
  'signed_out',
];
const LIMIT = { timeout: 90_000 };

let provider;
let browser;

before(async () => {
  provider = await startProvider();
  browser = await startBrowser();
}, LIMIT);

after(async () => {
  await browser?.close();
  await provider?.close();
}, LIMIT);

/** Starts the program for one test, and ends it with the test whatever happens. */
async function program(t, extra) {
  provider.diary.length = 0;
  const gatepass = await startSignIn(provider.issuer, extra);
  t.after(() => gatepass.close());
  return gatepass;
}

/** The whole life of a session, as the program told it and as the server saw it. */
async function assertWholeLife(gatepass, login) {
  const { code } = await gatepass.exit();
  const story = gatepass.story();
  assert.equal(code, 0, story);
  assert.deepEqual(gatepass.strays, [], 'only JSON on standard output');
  assert.deepEqual(gatepass.events.map(({ event }) => event), WHOLE_LIFE, story);

  const signedIn = gatepass.events.find(({ event }) => event === 'signed_in');
  assert.equal(signedIn.issuer, provider.issuer);
  assert.equal(signedIn.subject, login);
  assert.ok(signedIn.scope.includes('offline_access'), story);
  assert.ok(signedIn.expires_in > 0, story);
  for (const call of gatepass.events.filter(({ event }) => event === 'api_call')) {
    assert.equal(call.status, 200, story);
  }

  const diary = JSON.stringify(provider.diary, null, 1);
  const grants = provider.diary.filter(({ event }) => event === 'grant.success').map(({ grant }) => grant);
  assert.deepEqual(grants, ['authorization_code', 'refresh_token'], diary);
  assert.deepEqual(provider.diary.filter(({ event }) => /error/.test(event)), [], diary);

  const [first, second, ...more] = provider.refreshTokens();
  assert.ok(first && second, `a first refresh token and its successor\n${diary}`);
  assert.deepEqual(more, [], diary);
  const happened = (event, token) =>
    provider.diary.some((entry) => entry.event === event && (token === undefined || entry.token === token));
  assert.ok(happened('refresh_token.consumed', first), `rotated: the first one was used up\n${diary}`);
  assert.ok(happened('refresh_token.destroyed', second) || happened('grant.revoked'), `revoked\n${diary}`);

  // Asked last: a server with reuse detection takes this as an attack and revokes what is left.
  const refused = await provider.refresh(second);
  assert.equal(refused.status, 400);
  assert.equal(refused.error, 'invalid_grant', 'the refresh token is dead after sign-out');

  const secrets = [first, second].filter((token) => story.includes(token));
  assert.deepEqual(secrets, [], 'no refresh token in anything the program printed');
}

test('signs in through the browser over a loopback redirect, refreshes, signs out', LIMIT, async (t) => {
  const gatepass = await program(t);
  const { url } = await gatepass.event('authorization_url');
  const page = await openLogin(browser.context, url);
  const redirect = await signIn(page, 'alice');
  assert.equal(new URL(redirect).searchParams.get('iss'), provider.issuer, 'RFC 9207');
  await assertWholeLife(gatepass, 'alice');
  await page.close();
});

test('a person who cancels on the login page: access_denied, and not an exit of 0', LIMIT, async (t) => {
  await browser.context.clearCookies();
  const gatepass = await program(t);
  const { url } = await gatepass.event('authorization_url');
  const page = await openLogin(browser.context, url);
  await cancel(page);

  const error = await gatepass.event('error');
  const { code } = await gatepass.exit();
  assert.equal(error.server_error, 'access_denied', gatepass.story());
  assert.ok(error.kind && error.code && error.stage && error.next_step && error.diagnostic_id, gatepass.story());
  assert.equal(typeof error.retryable, 'boolean', gatepass.story());
  assert.equal(gatepass.events.at(-1).event, 'error', 'nothing comes after the error');
  assert.ok(code !== 0 && code !== null, `ended by itself with a code other than 0\n${gatepass.story()}`);
  assert.deepEqual(provider.refreshTokens(), []);
  await page.close();
});

test('a claimed-https redirect, pasted by the person', LIMIT, async (t) => {
  await browser.context.clearCookies();
  const gatepass = await program(t, ['--redirect', CLAIMED_HTTPS]);
  const { url } = await gatepass.event('authorization_url');
  const page = await openLogin(browser.context, url);
  const redirect = await signIn(page, 'bob');
  assert.ok(redirect.startsWith(`${CLAIMED_HTTPS}?`), redirect);
  gatepass.type(redirect);
  await assertWholeLife(gatepass, 'bob');
  await page.close();
});
