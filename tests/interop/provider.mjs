// The other side of the test: oidc-provider, an OpenID-certified authorization server, in this process.
//
// It keeps a diary of what it issued, saw used and revoked, so that a test can ask the server itself
// instead of believing the client.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

import { Provider, errors } from 'oidc-provider';

export const CLIENT_ID = 'gatepass-interop';
export const CLAIMED_HTTPS = 'https://app.example.com/callback';
export const PRIVATE_USE = 'com.example.app:/callback';
export const RESOURCE = 'https://api.example.com/';

const CONFIGURATION = {
  clients: [
    {
      client_id: CLIENT_ID,
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      // Without a port: RFC 8252 section 7.3, the server takes any.
      redirect_uris: [
        'http://127.0.0.1/callback',
        'http://[::1]/callback',
        CLAIMED_HTTPS,
        PRIVATE_USE,
      ],
    },
  ],
  pkce: { required: () => true },
  rotateRefreshToken: true,
  claims: { openid: ['sub'], profile: ['name'] },
  findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub, name: `User ${sub}` }) }),
  features: {
    // Its own login and consent pages: the test fills them in as a person would.
    devInteractions: { enabled: true },
    userinfo: { enabled: true },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    // RFC 9126: nothing in the browser's address bar but a reference to what was pushed.
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true },
    // RFC 8707: tokens for one API only, once the client names it.
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => {
        if (resource !== RESOURCE) throw new errors.InvalidTarget();
        return { scope: 'openid profile offline_access', audience: RESOURCE, accessTokenFormat: 'opaque' };
      },
    },
  },
};

// What the diary records, as oidc-provider names it.
const TOKEN_EVENTS = ['issued', 'saved', 'consumed', 'destroyed'].flatMap((what) => [
  `refresh_token.${what}`,
  `authorization_code.${what}`,
]);
const REQUEST_EVENTS = [
  'authorization.success',
  'authorization.error',
  'pushed_authorization_request.success',
  'pushed_authorization_request.error',
  'grant.success',
  'grant.error',
  'grant.revoked',
  'revocation.error',
  'userinfo.error',
  'server_error',
];

/** Starts the server on a port the operating system chose; with `{ key, cert }`, over TLS. */
export async function startProvider(tls) {
  const server = tls ? createTlsServer(tls) : createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;

  const provider = new Provider(issuer, CONFIGURATION);
  const diary = [];
  for (const event of TOKEN_EVENTS) {
    // An opaque token's id is its value.
    provider.on(event, (token) => diary.push({ event, token: token.jti }));
  }
  provider.on('access_token.saved', (token) => diary.push({ event: 'access_token.saved', aud: token.aud }));
  for (const event of REQUEST_EVENTS) {
    provider.on(event, (ctx, error) =>
      diary.push({
        event,
        grant: ctx?.oidc?.params?.grant_type,
        // What the client sent: this is the wire, and not what the server made of it.
        sent: ctx?.oidc?.params?.refresh_token,
        error: error?.error ?? error?.message,
      }),
    );
  }
  // Trouble on the way, for as long as a test wants it.
  let trouble = null;
  let tokenRequests = 0;
  provider.use((ctx, next) => {
    if (ctx.path === '/token' && ctx.method === 'POST' && !ctx.get('x-interop')) {
      tokenRequests += 1;
      if (trouble) return trouble(tokenRequests, ctx, next);
    }
    return next();
  });
  server.on('request', provider.callback());

  return {
    issuer,
    diary,

    /** Forgets the last test. */
    clear() {
      diary.length = 0;
      tokenRequests = 0;
      trouble = null;
    },

    /**
     * Lets `act(number, ctx, next)` stand before the token endpoint; requests of the client are counted from 1,
     * those of the test itself are not.
     */
    meddle(act) {
      trouble = act;
    },

    /** How often the client asked the token endpoint. */
    tokenRequests: () => tokenRequests,

    /** The refresh tokens the client sent, in the order the server decided about them. */
    sentRefreshTokens() {
      return diary
        .filter(({ event, grant }) => /^grant\.(success|error)$/.test(event) && grant === 'refresh_token')
        .map(({ sent }) => sent);
    },

    /** Every refresh token it issued, oldest first. */
    refreshTokens() {
      const made = diary.filter(({ event }) => /^refresh_token\.(issued|saved)$/.test(event));
      return [...new Set(made.map(({ token }) => token))];
    },

    /** What the token endpoint answers to this refresh token now. */
    async refresh(token) {
      const body = new URLSearchParams({
        grant_type: 'refresh_token',
        client_id: CLIENT_ID,
        refresh_token: token,
      });
      const headers = { 'x-interop': 'the test' };
      const response = await fetch(`${issuer}/token`, { method: 'POST', headers, body });
      return { status: response.status, ...(await response.json()) };
    },

    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
