// One process is the whole world: the test server, its browser and the app.

import Foundation
import GatepassCore
import Testing

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

struct World {
    let server: FfiTestServer
    let storage = MemoryStorage()

    init() throws {
        server = try FfiTestServer.start()
    }

    /// A client as one start of the app makes it. All of them share the storage.
    func client(
        http: any FfiHttpTransport = URLSessionTransport(), storage: (any FfiSecureStorage)? = nil, issuer: String? = nil
    ) throws -> FfiClient {
        let config = FfiConfig(
            issuer: issuer ?? server.issuer(),
            clientId: server.clientId(),
            redirect: "https://app.example.com/callback",
            scopes: ["openid", "profile", "offline_access"],
            apis: [FfiApi(origin: server.issuer())],
            transportPolicy: .allowHttpOnLoopback
        )
        return try FfiClient(
            config: config, http: .platform(transport: http), storage: .platform(storage: storage ?? self.storage),
            listener: nil, userAgent: nil
        )
    }

    func signIn(_ client: FfiClient) async throws -> FfiSession {
        let pending = try await client.beginSignIn(options: FfiSignInOptions())
        let redirect = try await server.browserSignIn(authorizationUrl: pending.authorizationUrl())
        return try await client.resumeSignIn(redirectUrl: redirect)
    }

    var tokenRequests: UInt64 { server.requestCount(path: "/token") }

    /// Calls the API as an app would, and tells the status.
    func callAPI(_ token: String) async throws -> UInt16 {
        let request = FfiHttpRequest(
            method: "GET", url: server.apiUrl(), headers: [FfiHeader(name: "Authorization", value: "Bearer \(token)")],
            body: Data(), timeoutMillis: 10_000, maxResponseBytes: 1 << 20, maxConnectionIdleMillis: nil
        )
        return try await URLSessionTransport().send(request: request).status
    }
}

/// What the call throws, which must be the one error type and say something.
func failure<T>(of call: () async throws -> T) async throws -> FfiErrorDetails {
    do {
        _ = try await call()
    } catch FfiError.Failed(let details) {
        try #require(!details.message.isEmpty)
        return details
    }
    throw NoFailure()
}

struct NoFailure: Error {}
