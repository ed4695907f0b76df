// The same over TLS: a server whose certificate comes from an authority of the enterprise's own.
//
// Linux, where the platform's roots can be chosen for one process; elsewhere they are the machine's.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { openLogin, signIn, startBrowser } from './browser.mjs';
import { startSignIn } from './gatepass.mjs';
import { CLAIMED_HTTPS, startProvider } from './provider.mjs';

const LIMIT = { timeout: 90_000 };

function why() {
  if (process.platform !== 'linux') return 'the roots of this platform are the machine\'s';
  try {
    execFileSync('openssl', ['version']);
    return false;
  } catch {
    return 'no `openssl` to make a certificate with';
  }
}
const SKIP = why();
const WHERE = { ...LIMIT, skip: SKIP };

let folder;
let provider;
let browser;

before(async () => {
  if (SKIP) return;
  folder = mkdtempSync(join(tmpdir(), 'gatepass-tls-'));
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem'), '-subj', '/CN=Gatepass interop',
    '-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE',
  ], { stdio: 'pipe' });
  const tls = { key: readFileSync(join(folder, 'key.pem')), cert: readFileSync(join(folder, 'cert.pem')) };
  provider = await startProvider(tls);
  browser = await startBrowser();
}, LIMIT);

after(async () => {
  await browser?.close();
  await provider?.close();
  if (folder) rmSync(folder, { recursive: true, force: true });
}, LIMIT);

async function program(t, environment) {
  provider.clear();
  const gatepass = await startSignIn(provider.issuer, ['--redirect', CLAIMED_HTTPS], environment);
  t.after(() => gatepass.close());
  return gatepass;
}

test('the whole life of a session over TLS, with a root that the platform trusts', WHERE, async (t) => {
  // A proxy that is not there: this machine is not looked for by one.
  const gatepass = await program(t, {
    SSL_CERT_FILE: join(folder, 'cert.pem'),
    HTTPS_PROXY: 'http://127.0.0.1:1',
    ALL_PROXY: 'http://127.0.0.1:1',
  });
  const { url } = await gatepass.event('authorization_url');
  assert.ok(url.startsWith('https://127.0.0.1:'), url);
  const page = await openLogin(browser.context, url);
  gatepass.type(await signIn(page, 'heidi'));
  await page.close();
  const { code } = await gatepass.exit();
  assert.equal(code, 0, gatepass.story());
  const events = gatepass.events.map(({ event }) => event);
  assert.ok(events.includes('refreshed') && events.includes('signed_out'), gatepass.story());
});

test('without that root nothing is sent, and the error says why', WHERE, async (t) => {
  const gatepass = await program(t, {});
  const error = await gatepass.event('error');
  const { code } = await gatepass.exit();
  assert.notEqual(code, 0, gatepass.story());
  assert.equal(error.kind, 'network', gatepass.story());
  assert.equal(error.code, 'tls_certificate', gatepass.story());
  assert.equal(error.stage, 'discovery', gatepass.story());
  assert.match(error.message, /was not sent.*does not trust/, gatepass.story());
  assert.deepEqual(provider.diary, []);
});
