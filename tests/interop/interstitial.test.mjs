// The interstitial page in a real Chromium: what a tap hands over, and what parameters made by an attacker do not do.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { startBrowser } from './browser.mjs';

const LIMIT = { timeout: 90_000 };
const APP_LINK = 'com.example.app:/callback';
const ANDROID = 'Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/140.0.0.0 Mobile Safari/537.36';

let browser;
let server;
let at;
const asked = [];

before(async () => {
  const output = execFileSync(
    process.env.GATEPASS_BIN,
    ['interstitial', '--json', '--redirect', 'https://app.example.com/callback', '--app-link', APP_LINK,
      '--android-package', 'com.example.app', '--name', '<b>Example</b>'],
    { encoding: 'utf8' },
  );
  const { page, headers } = JSON.parse(output);
  server = createServer((request, response) => {
    asked.push(request.url);
    response.writeHead(request.url.startsWith('/callback') ? 200 : 404, headers);
    response.end(page);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  at = `http://127.0.0.1:${server.address().port}/callback`;
  browser = await startBrowser();
}, LIMIT);

after(async () => {
  await browser?.close();
  server?.close();
}, LIMIT);

/** Opens the page with this query; what it complains of, and where it wants to go, is kept. */
async function open(query, userAgent) {
  const page = await browser.context.newPage();
  const seen = { dialogs: 0, errors: [], wanted: [] };
  page.on('dialog', (dialog) => { seen.dialogs += 1; dialog.dismiss(); });
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  page.on('console', (message) => seen.errors.push(message.text()));
  const protocol = await browser.context.newCDPSession(page);
  if (userAgent) await protocol.send('Network.setUserAgentOverride', { userAgent });
  await protocol.send('Page.enable');
  protocol.on('Page.frameRequestedNavigation', (event) => seen.wanted.push(event.url));
  await page.goto(`${at}${query}`);
  return { page, seen };
}

const QUERY = '?code=SplxlOBeZQQYbYS6WxSbIA&state=af0%2Bifj%20sldkj&iss=https%3A%2F%2Flogin.example.com';

test('one tap hands over exactly the parameters', LIMIT, async () => {
  const { page, seen } = await open(QUERY);
  const button = page.locator('#continue');
  assert.equal(await button.getAttribute('href'), APP_LINK + QUERY);
  assert.deepEqual(seen.wanted, [], 'it goes nowhere by itself');
  // Out of the history and the address, before anything else can read it there.
  assert.equal(page.url(), at);
  await button.click();
  await assertSoon(() => seen.wanted.length === 1);
  assert.deepEqual(seen.wanted, [APP_LINK + QUERY]);
  assert.deepEqual(seen.errors.filter((text) => !text.includes(APP_LINK)), []);
  await page.close();
});

test('an error is handed over as well', LIMIT, async () => {
  const { page } = await open('?error=access_denied&state=x');
  assert.equal(await page.locator('#continue').getAttribute('href'), `${APP_LINK}?error=access_denied&state=x`);
  await page.close();
});

test('on Android the app is named', LIMIT, async () => {
  const { page } = await open(QUERY, ANDROID);
  assert.equal(
    await page.locator('#continue').getAttribute('href'),
    `intent:/callback${QUERY}#Intent;scheme=com.example.app;package=com.example.app;end`,
  );
  await page.close();
});

test('parameters made to hurt do nothing', LIMIT, async () => {
  for (const evil of [
    '"><script>alert(1)</script>',
    "'-alert(1)-'",
    'javascript:alert(1)',
    '</script><img src=x onerror=alert(1)>',
    '#Intent;scheme=evil;package=evil.example;end',
    '%0d%0aLocation:%20https://evil.example/',
    'https://evil.example/',
  ]) {
    for (const query of [`?code=${encodeURIComponent(evil)}`, `?code=${evil}`, `?${evil}&code=x`]) {
      const { page, seen } = await open(query, ANDROID);
      const href = await page.locator('#continue').getAttribute('href');
      if (href !== null) {
        assert.ok(href.startsWith('intent:/callback?'), href);
        assert.ok(href.endsWith('#Intent;scheme=com.example.app;package=com.example.app;end'), href);
        assert.equal(href.split('#').length, 2, href);
      }
      assert.equal(seen.dialogs, 0, query);
      assert.equal(await page.locator('script').count(), 1, query);
      assert.equal(await page.locator('img').count(), 0, query);
      await page.close();
    }
  }
});

test('without parameters there is nothing to tap', LIMIT, async () => {
  for (const query of ['', '?', '?x=y', '?decode=1']) {
    const { page } = await open(query);
    assert.equal(await page.locator('#continue').isVisible(), false, query);
    assert.equal(await page.locator('#nothing').isVisible(), true, query);
    await page.close();
  }
});

test('the name of the app is text, and nothing else is asked for', LIMIT, async () => {
  const { page } = await open(QUERY);
  assert.equal(await page.locator('h1').textContent(), '<b>Example</b>');
  assert.equal(await page.locator('b').count(), 0);
  await page.close();
  const others = asked.filter((url) => !url.startsWith('/callback') && url !== '/favicon.ico');
  assert.deepEqual(others, []);
});

/** Waits until it holds; the test's own limit ends it otherwise. */
async function assertSoon(holds) {
  while (!holds()) await new Promise((done) => setImmediate(done));
}
