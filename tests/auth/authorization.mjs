// Configures oidc-provider, a real authorization server, for one test; the settings are an argument.
// It prints its issuer once it listens. All state is in memory and goes with the process.
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const settings = JSON.parse(process.argv[2])
const require = createRequire(`${settings.modules}/`)
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')))

const server = createServer()
await new Promise((ready) => server.listen(0, '127.0.0.1', ready))
const issuer = `http://127.0.0.1:${server.address().port}`

const provider = new Provider(issuer, {
  clients: settings.clients,
  scopes: ['openid', 'offline_access'],
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: { AccessToken: settings.lifetime, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
  discovery: settings.discovery,
  routes: settings.alone ? { authorization: '/authorize', registration: '/register' } : {},
  // Its own dispatcher refuses loopback, where a test's client id document is.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  features: {
    devInteractions: { enabled: true }, // a login page that takes any name
    registration: { enabled: settings.registers },
    revocation: { enabled: true },
    introspection: { enabled: true },
    clientIdMetadataDocument: { enabled: settings.documents, ack: settings.documents ? 'draft-02' : undefined },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        scope: 'mcp:read mcp:write',
        audience: settings.audience ?? resource,
        accessTokenTTL: settings.lifetime,
        accessTokenFormat: settings.format,
        ...(settings.format === 'jwt' ? { jwt: { sign: { alg: 'RS256' } } } : {})
      })
    }
  }
})
const answer = provider.callback()
server.on('request', async (request, response) => {
  if (!settings.alone) return answer(request, response)
  // The revision of 2025-03-26: endpoints at the MCP server's own origin, and no metadata.
  if (request.url.startsWith('/.well-known/')) return response.writeHead(404).end()
  if (request.url !== '/mcp') return answer(request, response)
  const token = await provider.AccessToken.find(request.headers.authorization?.slice('Bearer '.length))
  response.writeHead(token?.aud === `${issuer}/mcp` ? 202 : 401).end()
})
console.log(JSON.stringify({ issuer }))
