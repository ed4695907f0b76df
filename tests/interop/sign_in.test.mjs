// The `gatepass` program signs in at a certified authorization server through a real browser.
//
// Run it with `cargo xtask test interop`.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { cancel, openLogin, signIn, signInToScheme, startBrowser } from './browser.mjs';
import { knows, startSignIn } from './gatepass.mjs';
import { CLAIMED_HTTPS, PRIVATE_USE, RESOURCE, startProvider } from './provider.mjs';

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
  provider.clear();
  const gatepass = await startSignIn(provider.issuer, extra);
  t.after(() => gatepass.close());
  return gatepass;
}

const pushed = () =>
  provider.diary.filter(({ event }) => event === 'pushed_authorization_request.success').length;

/** RFC 9126: the URL for the browser shows who asks, and nothing of what. */
function assertPushed(url) {
  const names = [...new URL(url).searchParams.keys()].sort();
  assert.deepEqual(names, ['client_id', 'request_uri'], url);
}

/** Signs in by a pasted redirect, with `trouble` before the token endpoint. */
async function signInWith(t, login, trouble) {
  await browser.context.clearCookies();
  const gatepass = await program(t, ['--redirect', CLAIMED_HTTPS]);
  const { url } = await gatepass.event('authorization_url');
  const page = await openLogin(browser.context, url);
  const redirect = await signIn(page, login);
  await page.close();
  // First, since the program does not wait for us once it has the redirect.
  provider.meddle(trouble);
  gatepass.type(redirect);
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
  assert.equal(pushed(), 1, `the request was pushed, once\n${diary}`);
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
  assertPushed(url);
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
  assertPushed(url);
  const redirect = await signIn(page, 'bob');
  assert.ok(redirect.startsWith(`${CLAIMED_HTTPS}?`), redirect);
  gatepass.type(redirect);
  await assertWholeLife(gatepass, 'bob');
  await page.close();
});

test('a private-use scheme, pasted by the person', LIMIT, async (t) => {
  await browser.context.clearCookies();
  const gatepass = await program(t, ['--redirect', PRIVATE_USE]);
  const { url } = await gatepass.event('authorization_url');
  assertPushed(url);
  const page = await openLogin(browser.context, url);
  const redirect = await signInToScheme(page, 'carol', PRIVATE_USE);
  assert.ok(redirect.startsWith(`${PRIVATE_USE}?`), redirect);
  gatepass.type(redirect);
  await assertWholeLife(gatepass, 'carol');
  await page.close();
});

test('a redirect of another state is passed over; one without iss, or with another, ends the sign-in', LIMIT, async (t) => {
  const metadata = await (await fetch(`${provider.issuer}/.well-known/openid-configuration`)).json();
  assert.equal(metadata.authorization_response_iss_parameter_supported, true, 'RFC 9207 section 3');

  await browser.context.clearCookies();
  const gatepass = await program(t, ['--redirect', CLAIMED_HTTPS]);
  const { url } = await gatepass.event('authorization_url');
  const page = await openLogin(browser.context, url);
  const redirect = await signIn(page, 'dora');
  await page.close();
  const changed = (change) => {
    const forged = new URL(redirect);
    change(forged.searchParams);
    return forged.href;
  };
  gatepass.type(changed((query) => query.set('state', 'somebody-elses')));
  gatepass.type(changed((query) => query.set('iss', 'https://attacker.example')));
  const error = await gatepass.event('error');
  await gatepass.exit();
  assert.equal(error.code, 'iss_mismatch', gatepass.story());
  assert.equal(provider.tokenRequests(), 0, 'the code went nowhere');

  // And without any: a client that knows the server sends it takes its absence for the attack.
  await browser.context.clearCookies();
  const second = await program(t, ['--redirect', CLAIMED_HTTPS]);
  const again = await openLogin(browser.context, (await second.event('authorization_url')).url);
  const other = new URL(await signIn(again, 'dora'));
  await again.close();
  other.searchParams.delete('iss');
  second.type(other.href);
  const missing = await second.event('error');
  await second.exit();
  assert.equal(missing.code, 'iss_missing', second.story());
  assert.equal(provider.tokenRequests(), 0, 'the code went nowhere');
});

test('the second refresh sends the second token', LIMIT, async (t) => {
  const gatepass = await signInWith(t, 'erin', async (number, ctx, next) => {
    await next();
    // The access token of the first refresh is void, so the call after it needs another.
    if (number === 2) await ctx.oidc.entities.AccessToken.destroy();
  });
  const { code } = await gatepass.exit();
  const story = `${gatepass.story()}\n${JSON.stringify(provider.diary, null, 1)}`;
  assert.equal(code, 0, story);
  const [first, second, third, ...more] = provider.refreshTokens();
  assert.ok(first && second && third && more.length === 0, story);
  assert.deepEqual(provider.sentRefreshTokens(), [first, second], story);
  const refused = await provider.refresh(third);
  assert.equal(refused.error, 'invalid_grant', 'nothing is left after sign-out');
});

test('a refresh token that somebody used before ends the session, and says so', LIMIT, async (t) => {
  const gatepass = await signInWith(t, 'frank', async (number, ctx, next) => {
    await next();
    if (number !== 2) return;
    // A thief comes second: the server takes back the whole grant (RFC 9700 section 4.14.2).
    const [first] = provider.refreshTokens();
    const { error } = await provider.refresh(first);
    assert.equal(error, 'invalid_grant');
  });
  const error = await gatepass.event('error');
  const { code } = await gatepass.exit();
  const story = `${gatepass.story()}\n${JSON.stringify(provider.diary, null, 1)}`;
  assert.notEqual(code, 0, story);
  assert.equal(error.kind, 'session_ended', story);
  assert.equal(error.next_step, 'sign_in_again', story);
  const [first, second] = provider.refreshTokens();
  assert.deepEqual(provider.sentRefreshTokens(), [first, first, second], `each was sent once by the client\n${story}`);
  for (const token of [first, second]) assert.ok(!gatepass.story().includes(token), 'no token in what it says');
});

test('an access token for one API', { ...LIMIT, skip: !knows('--resource') && '`gatepass sign-in` has no --resource' }, async (t) => {
  await browser.context.clearCookies();
  const gatepass = await program(t, ['--redirect', CLAIMED_HTTPS, '--resource', RESOURCE]);
  const { url } = await gatepass.event('authorization_url');
  assertPushed(url);
  const page = await openLogin(browser.context, url);
  gatepass.type(await signIn(page, 'grace'));
  await gatepass.event('signed_in');
  const audiences = provider.diary.filter(({ event }) => event === 'access_token.saved').map(({ aud }) => aud);
  assert.deepEqual(audiences, [RESOURCE], gatepass.story());
  await page.close();
});
