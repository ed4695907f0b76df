// oidc-provider for `cargo xtask soak`: does what standard input says, a line each, and answers each with one line of JSON.
//
//   sign-in URL   signs somebody in as a browser would, and tells the redirect
//   refreshes     tells what refresh tokens were sent since it was last asked, and how they were answered
//
// The same as `gatepass soak-server` for the test server.

import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';

import { CLAIMED_HTTPS, CLIENT_ID, startProvider } from './provider.mjs';

// The provider has warnings about its set-up for whoever looks; standard output is for our answers.
console.info = console.error;
const provider = await startProvider();
const tell = (event, fields) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);

/** The attribute of the first tag of this name, as it stands in the page. */
function attribute(page, tag, name) {
  const [, value] = new RegExp(`<${tag}[^>]*\\s${name}="([^"]*)"`).exec(page) ?? [];
  if (value === undefined) throw new Error(`no <${tag} ${name}> in the page:\n${page}`);
  return value.replaceAll('&amp;', '&');
}

/** Follows the provider's redirects and sends its forms off, up to the redirect to the app. */
async function signIn(start) {
  const cookies = new Map();
  let url = start;
  let form;
  for (let steps = 0; steps < 20; steps += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const init = { redirect: 'manual', headers: { cookie } };
    const response = await fetch(url, form ? { ...init, method: 'POST', body: form } : init);
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value) cookies.set(name, value);
      else cookies.delete(name);
    }
    const location = response.headers.get('location');
    form = undefined;
    if (location?.startsWith(`${CLAIMED_HTTPS}?`)) return location;
    if (location) {
      url = new URL(location, url).href;
      await response.arrayBuffer();
      continue;
    }
    const page = await response.text();
    if (response.status !== 200) throw new Error(`${response.status} of ${url}:\n${page}`);
    url = new URL(attribute(page, 'form', 'action'), url).href;
    form = new URLSearchParams({ prompt: attribute(page, 'input', 'value'), login: 'alice', password: 'any will do' });
  }
  throw new Error('the provider leads round in a circle');
}

let told = 0;
function refreshes() {
  const sent = provider.diary
    .slice(told)
    .filter(({ event, grant }) => /^grant\.(success|error)$/.test(event) && grant === 'refresh_token')
    .map(({ event, sent: token }) => ({
      token: createHash('sha256').update(token).digest('hex').slice(0, 16),
      status: event === 'grant.success' ? 200 : 400,
    }));
  told = provider.diary.length;
  return sent;
}

tell('serving', { issuer: provider.issuer, client_id: CLIENT_ID });
for await (const line of createInterface({ input: process.stdin })) {
  const [command, url] = line.split(' ');
  if (command === 'sign-in') tell('redirect', { url: await signIn(url) });
  else if (command === 'refreshes') tell('refreshes', { sent: refreshes() });
  else throw new Error(`no command of the soak: ${line}`);
}
await provider.close();
