// The other side of the test: oidc-provider, an OpenID-certified authorization server, in this process.
//
// It keeps a diary of what it issued, saw used and revoked, so that a test can ask the server itself
// instead of believing the client.

import { once } from 'node:events';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

export const CLIENT_ID = 'gatepass-interop';
export const CLAIMED_HTTPS = 'https://app.example.com/callback';

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
        'com.example.app:/callback',
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
  'grant.success',
  'grant.error',
  'grant.revoked',
  'revocation.error',
  'userinfo.error',
  'server_error',
];

/** Starts the server on a port the operating system chose. */
export async function startProvider() {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${server.address().port}`;

  const provider = new Provider(issuer, CONFIGURATION);
  const diary = [];
  for (const event of TOKEN_EVENTS) {
    // An opaque token's id is its value.
    provider.on(event, (token) => diary.push({ event, token: token.jti }));
  }
  for (const event of REQUEST_EVENTS) {
    provider.on(event, (ctx, error) =>
      diary.push({ event, grant: ctx?.oidc?.params?.grant_type, error: error?.error ?? error?.message }),
    );
  }
  server.on('request', provider.callback());

  return {
    issuer,
    diary,

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
      const response = await fetch(`${issuer}/token`, { method: 'POST', body });
      return { status: response.status, ...(await response.json()) };
    },

    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
