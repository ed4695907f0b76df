// The life of a session through the generated Swift: sign-in, refresh, restart, sign-out.

import Foundation
import GatepassCore
import Testing

@Test func aSessionFromItsFirstURLToItsEnd() async throws {
    let world = try World()
    let client = try world.client()
    #expect(client.state() == .loading)
    #expect(try await client.session() == nil)
    #expect(client.state() == .signedOut)

    let session = try await world.signIn(client)
    #expect(client.state() == .signedIn)
    #expect(session.info().issuer == world.server.issuer())
    let subject = try #require(session.info().subject)
    #expect(session.info().scope.contains("offline_access"))

    let first = try await session.accessToken()
    #expect(session.snapshot()?.token == first)
    #expect(try await world.callAPI(first) == 200)
    #expect(try await session.userinfoJson().contains("\"sub\":\"\(subject)\""))
    #expect(world.tokenRequests == 1)
    let before = try #require(session.snapshot())

    try await session.refresh()
    let second = try await session.accessToken()
    #expect(second != first)
    #expect(world.tokenRequests == 2)
    let after = try #require(session.snapshot())
    #expect(after.token == second)
    #expect(after.generation > before.generation)
    #expect(after.usableUntilBootMillis != nil)

    // The app starts again.
    let restarted = try world.client()
    let found = try #require(try await restarted.session())
    #expect(found.info().subject == subject)
    #expect(try await found.accessToken() == second)

    let tokens = try await withThrowingTaskGroup(of: String.self) { group in
        for _ in 0..<50 {
            group.addTask { try await found.accessToken() }
        }
        return try await group.reduce(into: Set<String>()) { $0.insert($1) }
    }
    #expect(tokens == [second])
    #expect(world.tokenRequests == 2)

    let report = try await found.signOut(how: .revoke)
    #expect(report.revocation == .done)
    #expect(world.server.requestCount(path: "/revoke") == 1)
    #expect(found.snapshot() == nil)
    #expect(try await restarted.session() == nil)
    #expect(restarted.state() == .signedOut)
    #expect(try await world.callAPI(second) == 401)

    let error = try await failure { try await found.accessToken() }
    #expect(error.kind == "session_ended")
    #expect(error.endReason == "signed_out")
    #expect(error.nextStep == "sign_in_again")
    #expect(!error.isRetryable)
    #expect(world.tokenRequests == 2)
}

@Test func aRedirectIntoANewProcessCompletesThere() async throws {
    let world = try World()
    let pending = try await world.client().beginSignIn(options: FfiSignInOptions(loginHint: "alice"))
    #expect(pending.redirectUri() == "https://app.example.com/callback")
    let redirect = try await world.server.browserSignIn(authorizationUrl: pending.authorizationUrl())
    let session = try await world.client().resumeSignIn(redirectUrl: redirect)
    #expect(try await world.callAPI(session.accessToken()) == 200)
}

@Test func clientsOverOneStorageThatRefreshAtOnceKeepTheSession() async throws {
    let world = try World()
    _ = try await world.signIn(world.client())
    try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<4 {
            let session = try #require(try await world.client().session())
            group.addTask { try await session.refresh() }
        }
        try await group.waitForAll()
    }
    let session = try #require(try await world.client().session())
    #expect(try await world.callAPI(session.accessToken()) == 200)
}

@Test func whatHoldsASecretDoesNotPrintIt() async throws {
    let world = try World()
    let session = try await world.signIn(world.client())
    let snapshot = try #require(session.snapshot())
    let header = FfiHeader(name: "Authorization", value: "Bearer \(snapshot.token)")
    let request = FfiHttpRequest(
        method: "POST", url: "https://as.example/?token=\(snapshot.token)", headers: [header],
        body: Data(snapshot.token.utf8), timeoutMillis: 1, maxResponseBytes: 1, maxConnectionIdleMillis: nil
    )
    let response = FfiHttpResponse(status: 200, headers: [header], body: Data(snapshot.token.utf8))
    let stored = FfiStored(bytes: Data(snapshot.token.utf8), generation: 1)
    for printed in [
        "\(snapshot) \(header) \(request) \(response) \(stored)",
        String(reflecting: snapshot) + String(reflecting: request) + String(reflecting: [header]),
        String(reflecting: response) + String(reflecting: FfiCommitOutcome.conflict(current: stored)),
    ] {
        #expect(!printed.contains(snapshot.token))
    }
}
