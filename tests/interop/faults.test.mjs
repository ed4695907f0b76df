// The network fails where it hurts most: after the token endpoint has acted, before its answer has arrived.
//
// What must become of the session is decided by what the server can have done, and nothing else.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { openLogin, signIn, startBrowser } from './browser.mjs';
import { startSignIn } from './gatepass.mjs';
import { CLAIMED_HTTPS, startProvider } from './provider.mjs';

const LIMIT = { timeout: 90_000 };
// Shown as failing, and counted as that once the marks are gone.

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

/** Cuts the connection under the request; nothing more is written. */
function cut(ctx) {
  ctx.respond = false;
  ctx.req.socket.destroy();
}

/** Starts the program and signs in, with this trouble before the token endpoint. */
async function signInWith(t, trouble) {
  provider.clear();
  await browser.context.clearCookies();
  const gatepass = await startSignIn(provider.issuer, ['--redirect', CLAIMED_HTTPS]);
  t.after(() => gatepass.close());
  const { url } = await gatepass.event('authorization_url');
  const page = await openLogin(browser.context, url);
  const redirect = await signIn(page, 'ivan');
  await page.close();
  provider.meddle(trouble);
  gatepass.type(redirect);
  const { code } = await gatepass.exit();
  const story = `${gatepass.story()}\n${JSON.stringify(provider.diary, null, 1)}`;
  for (const token of provider.refreshTokens()) {
    assert.ok(!gatepass.story().includes(token), 'no refresh token in what it says');
  }
  return { gatepass, code, story, error: gatepass.events.find(({ event }) => event === 'error') };
}

test('the answer to the code is lost: the code is not sent again', LIMIT, async (t) => {
  const { code, story, error } = await signInWith(t, async (number, ctx, next) => {
    await next();
    cut(ctx);
  });
  assert.notEqual(code, 0, story);
  assert.equal(provider.tokenRequests(), 1, story);
  assert.equal(error.stage, 'token_exchange', story);
  assert.equal(error.next_step, 'sign_in_again', story);
});

test('a refresh is lost on the way to the server: the same token is sent again, and the session lives', LIMIT, async (t) => {
  const { code, story } = await signInWith(t, (number, ctx, next) => (number === 2 ? cut(ctx) : next()));
  assert.equal(code, 0, story);
  const [first, second, ...more] = provider.refreshTokens();
  assert.ok(first && second && more.length === 0, story);
  assert.deepEqual(provider.sentRefreshTokens(), [first], `the server decided about one\n${story}`);
  assert.equal(provider.tokenRequests(), 3, story);
});

test('the answer to a refresh is lost at a server without grace: the session ends as lost by rotation', LIMIT, async (t) => {
  const { code, story, error } = await signInWith(t, async (number, ctx, next) => {
    await next();
    if (number === 2) cut(ctx);
  });
  assert.notEqual(code, 0, story);
  const [first] = provider.refreshTokens();
  assert.deepEqual(provider.sentRefreshTokens(), [first, first], `the same token, once more\n${story}`);
  assert.equal(error.kind, 'session_ended', story);
  assert.equal(error.code, 'rotation_lost', story);
  assert.equal(error.next_step, 'sign_in_again', story);
});

test('a gateway answers a refresh with a page of its own: the session lives', LIMIT, async (t) => {
  const { code, story } = await signInWith(t, (number, ctx, next) => {
    if (number !== 2) return next();
    ctx.status = 502;
    ctx.type = 'text/html';
    ctx.body = '<html>Bad gateway</html>';
    return undefined;
  });
  assert.equal(code, 0, story);
  const [first, second] = provider.refreshTokens();
  assert.ok(first && second, story);
  assert.deepEqual(provider.sentRefreshTokens(), [first], story);
});
