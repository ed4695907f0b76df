// The person: a real Chromium that reads the provider's pages, fills them in and follows its redirects.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox', // Chromium refuses to start as root otherwise.
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // No name resolves: the provider's pages ask for a web font, and a test leaves this machine alone.
  '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
];

/** Starts the browser with a new, empty profile. */
export async function startBrowser() {
  const profile = await mkdtemp(join(tmpdir(), 'gatepass-interop-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    args: FLAGS,
    // The certificates of these tests are for the program to judge.
    ignoreHTTPSErrors: true,
    timeout: 30_000,
  });
  context.setDefaultTimeout(20_000);
  return {
    context,
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

/** Opens the authorization URL: the provider's login page. */
export async function openLogin(context, url) {
  const page = await context.newPage();
  await page.goto(url);
  await page.locator('input[name=login]').waitFor();
  return page;
}

/** Signs in and agrees, and gives the URL the provider sent the browser to at the end. */
export async function signIn(page, login) {
  await page.locator('input[name=login]').fill(login);
  await page.locator('input[name=password]').fill('any password will do');
  await page.locator('button[type=submit]').click();
  const consent = page.locator('form', { has: page.locator('input[name=prompt][value=consent]') });
  return redirected(page, () => consent.locator('button[type=submit]').click());
}

/** Presses cancel on the login page. */
export async function cancel(page) {
  return redirected(page, () => page.locator('a[href$="/abort"]').click());
}

/**
 * As `signIn`, for a redirect that no browser follows: the last answer of the provider says where it goes.
 */
export async function signInToScheme(page, login, scheme) {
  const answer = page.waitForEvent('response', (response) => {
    const { location } = response.headers();
    return response.status() >= 300 && response.status() < 400 && Boolean(location?.startsWith(scheme));
  });
  await page.locator('input[name=login]').fill(login);
  await page.locator('input[name=password]').fill('any password will do');
  await page.locator('button[type=submit]').click();
  const consent = page.locator('form', { has: page.locator('input[name=prompt][value=consent]') });
  await consent.locator('button[type=submit]').click();
  return (await answer).headers().location;
}

// The redirect is known by leaving the provider for our path: with a pushed request (RFC 9126) the
// authorization URL does not say where it goes. The request is what counts, not its answer: nobody answers
// at app.example.com, and a loopback listener may be gone once it has what it wanted.
async function redirected(page, act) {
  const provider = new URL(page.url()).origin;
  const arrival = page.waitForRequest((request) => {
    const { origin, pathname } = new URL(request.url());
    return origin !== provider && pathname === '/callback';
  });
  await act();
  return (await arrival).url();
}

/** Reads what a program tells, a line of JSON each, to its end; `login` signs in when it asks for that. What it told. */
export async function follow(t, child, context, login) {
  t.after(() => child.kill('SIGKILL'));
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { stderr += text; });
  const code = new Promise((resolve) => { child.once('close', resolve); });
  const events = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line);
    events.push(event);
    if (event.event === 'authorization_url') {
      const page = await openLogin(context, event.url);
      await signIn(page, login);
      await page.close();
    }
  }
  assert.equal(await code, 0, `${JSON.stringify(events)}\n${stderr}`);
  return events;
}
