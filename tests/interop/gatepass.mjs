// The program under test, started as a person's script would: arguments in, one JSON object a line out.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { CLIENT_ID } from './provider.mjs';

const PATIENCE = 30_000;

function programPath() {
  const program = process.env.GATEPASS_BIN;
  if (!program) {
    throw new Error('GATEPASS_BIN names no program; `cargo xtask test interop` builds it and sets this');
  }
  return program;
}

let help = null;

/** Whether `gatepass sign-in` knows this option. */
export function knows(option) {
  help ??= execFileSync(programPath(), ['sign-in', '--help'], { encoding: 'utf8' });
  return help.includes(option);
}

/** `gatepass sign-in` against `issuer`, through the whole life of a session. Its files go to a folder of its own. */
export async function startSignIn(issuer, extra = [], environment = {}) {
  const program = programPath();
  // Where it can stay signed in, it does unless it is told to go through everything.
  const journey = knows('--journey') ? ['--journey'] : [];
  const loopback = issuer.startsWith('http:') ? ['--allow-http-on-loopback'] : [];
  const home = await mkdtemp(join(tmpdir(), 'gatepass-home-'));
  const child = spawn(
    program,
    ['sign-in', '--json', '--no-browser', '--issuer', issuer, '--client-id', CLIENT_ID,
      ...loopback, ...journey, ...extra],
    {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        ...process.env,
        HOME: home,
        XDG_CONFIG_HOME: join(home, 'config'),
        XDG_DATA_HOME: join(home, 'data'),
        XDG_STATE_HOME: join(home, 'state'),
        XDG_CACHE_HOME: join(home, 'cache'),
        ...environment,
      },
    },
  );
  // Even a test process that dies of an uncaught error takes the program with it.
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);

  const events = [];
  const strays = [];
  const waiting = new Set();
  let stderr = '';
  let ended = null;
  const wake = () => waiting.forEach((check) => check());

  child.stderr.setEncoding('utf8').on('data', (text) => { stderr += text; });
  child.stdin.on('error', () => {}); // It may end without reading what it was sent.
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    try {
      events.push(JSON.parse(line));
    } catch {
      strays.push(line);
    }
    wake();
  });
  // Both: `close` of the streams can come before or after the last line was read.
  const linesDone = new Promise((resolve) => { lines.once('close', resolve); });
  const exit = new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, error }));
    child.once('close', (code, signal) => resolve({ code, signal }));
  }).then(async (result) => {
    if (!result.error) await linesDone;
    ended = result;
    wake();
    return result;
  });

  const story = () =>
    `events: ${JSON.stringify(events)}\nother output: ${JSON.stringify(strays)}\n` +
    `ended: ${JSON.stringify(ended)}\nstandard error:\n${stderr}`;

  // Resolves with what `look` finds, as soon as it finds something.
  function until(look, what) {
    return new Promise((resolve, reject) => {
      const settle = (act, value) => {
        clearTimeout(timer);
        waiting.delete(check);
        act(value);
      };
      const check = () => {
        const found = look();
        if (found) settle(resolve, found);
        else if (ended) settle(reject, new Error(`it ended before: ${what}\n${story()}`));
      };
      const timer = setTimeout(
        () => settle(reject, new Error(`no ${what} within ${PATIENCE / 1000} s\n${story()}`)),
        PATIENCE,
      );
      waiting.add(check);
      check();
    });
  }

  return {
    events,
    strays,
    story,
    /** The first event of this name. */
    event: (name) => until(() => events.find(({ event }) => event === name), `event ${name}`),
    /** How it ended: `{ code, signal }`. */
    exit: () => until(() => ended, 'end'),
    /** Types a line. */
    type: (line) => child.stdin.write(`${line}\n`),
    /** Ends it if it runs, and cleans up. */
    async close() {
      kill();
      await exit;
      process.removeListener('exit', kill);
      await rm(home, { recursive: true, force: true });
    },
  };
}
