// A sign-in whose redirect ends in the browser: from the server's login page to the interstitial page, by one tap to the
// program, which holds what comes by the alias to the same checks as a redirect.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';

import { startBrowser } from './browser.mjs';
import { startSignIn } from './gatepass.mjs';
import { CLIENT_ID } from './provider.mjs';

const LIMIT = { timeout: 90_000 };
const REDIRECT = 'https://app.example.com/callback';
const ALIAS = 'com.example.app:/callback';

let browser;
let server;
let issuer;
let interstitial;

before(async () => {
  server = spawn(
    process.env.GATEPASS_BIN,
    ['serve', '--json', '--port', '0', '--client-id', CLIENT_ID, '--redirect-uri', REDIRECT],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  for await (const line of createInterface({ input: server.stdout })) {
    issuer = JSON.parse(line).issuer;
    if (issuer) break;
  }
  const output = execFileSync(
    process.env.GATEPASS_BIN,
    ['interstitial', '--json', '--redirect', REDIRECT, '--app-link', ALIAS, '--name', 'Example'],
    { encoding: 'utf8' },
  );
  interstitial = JSON.parse(output);
  browser = await startBrowser();
}, LIMIT);

after(async () => {
  await browser?.close();
  server?.kill();
}, LIMIT);

/** Signs alice in at the server's page, and taps the button of the page that stands at the redirect; what it opens. */
async function signInAndTap(url) {
  const page = await browser.context.newPage();
  let arrived;
  await page.route(`${REDIRECT}?**`, (route) => {
    arrived = route.request().url();
    return route.fulfill({ status: 200, headers: interstitial.headers, body: interstitial.page });
  });
  const wanted = [];
  const protocol = await browser.context.newCDPSession(page);
  await protocol.send('Page.enable');
  protocol.on('Page.frameRequestedNavigation', (event) => {
    if (event.url.startsWith('com.example')) wanted.push(event.url);
  });
  await page.goto(url);
  // Who is signed in already is not asked again.
  if (await page.locator('#username').count() > 0) {
    await page.fill('#username', 'alice');
    const password = page.locator('aside dt:has-text("alice") + dd');
    await page.fill('#password', await password.innerText());
    await page.click('button[value="sign-in"]');
  }
  await page.waitForURL(REDIRECT);
  assert.deepEqual(wanted, [], 'it goes nowhere by itself');
  await page.click('#continue');
  while (wanted.length === 0) await new Promise((done) => setImmediate(done));
  await page.close();
  return { arrived, opened: wanted[0] };
}

/** How often it has said that a line is not the redirect it waits for. */
function refusals(gatepass) {
  return gatepass.story().split('Still waiting').length - 1;
}

test('one tap on the page finishes the sign-in', LIMIT, async (t) => {
  const gatepass = await startSignIn(issuer, ['--redirect', REDIRECT, '--redirect-alias', ALIAS]);
  t.after(() => gatepass.close());
  const { url } = await gatepass.event('authorization_url');
  // The server is told of the https redirect alone.
  assert.equal(new URL(url).searchParams.get('redirect_uri'), REDIRECT);
  const { arrived, opened } = await signInAndTap(url);
  assert.equal(opened, ALIAS + arrived.slice(REDIRECT.length), 'exactly the parameters');
  // What is not the alias, or not what the server sent, is not taken, and costs the sign-in nothing.
  const query = opened.slice(ALIAS.length);
  const evils = [
    `com.example.app:/other${query}`,
    `com.example.evil:/callback${query}`,
    `com.example.app://callback${query}`,
    `COM.EXAMPLE.APP:/callback${query}`,
    `${opened}&state=another`,
    `${opened}&code=another`,
    opened.replace(/state=[^&]*/, 'state=another'),
  ];
  evils.forEach((evil) => gatepass.type(evil));
  gatepass.type(opened);
  await gatepass.event('signed_in');
  const { code } = await gatepass.exit();
  assert.equal(code, 0, gatepass.story());
  assert.equal(refusals(gatepass), evils.length, gatepass.story());
});

test('by the alias, too, the answer of another server ends the sign-in', LIMIT, async (t) => {
  const gatepass = await startSignIn(issuer, ['--redirect', REDIRECT, '--redirect-alias', ALIAS]);
  t.after(() => gatepass.close());
  const { url } = await gatepass.event('authorization_url');
  const { opened } = await signInAndTap(url);
  gatepass.type(opened.replace(/iss=[^&]*/, 'iss=https%3A%2F%2Fevil.example'));
  assert.notEqual((await gatepass.exit()).code, 0, gatepass.story());
  assert.ok(!gatepass.events.some(({ event }) => event === 'signed_in'), gatepass.story());
});

test('without the alias what the tap opens is not taken', LIMIT, async (t) => {
  const gatepass = await startSignIn(issuer, ['--redirect', REDIRECT, '--timeout', '600']);
  t.after(() => gatepass.close());
  const { url } = await gatepass.event('authorization_url');
  const { arrived, opened } = await signInAndTap(url);
  gatepass.type(opened);
  // It still waits, so that the redirect itself is taken.
  gatepass.type(arrived);
  await gatepass.event('signed_in');
  assert.equal((await gatepass.exit()).code, 0, gatepass.story());
  assert.equal(refusals(gatepass), 1, gatepass.story());
});
