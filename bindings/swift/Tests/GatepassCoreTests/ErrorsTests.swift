// What goes wrong, as Swift sees it: typed, never empty, and without what a platform's errors say.

import Foundation
import GatepassCore
import Testing

private let secret = "hunter2-refresh-token"

@Test func aCallbackThatIsNotOursNamesTheClauseAndLeavesTheSignInAlone() async throws {
    let world = try World()
    let client = try world.client()
    let pending = try await client.beginSignIn(options: FfiSignInOptions())
    let error = try await failure {
        try await client.resumeSignIn(redirectUrl: "https://app.example.com/callback?code=x&state=\(secret)")
    }
    #expect(error.kind == "protocol")
    #expect(error.stage == "callback")
    #expect(error.clause != nil)
    #expect(error.nextStep == "none")
    #expect(!everything(in: error).contains(secret))
    #expect(world.tokenRequests == 0)

    let redirect = try await world.server.browserSignIn(authorizationUrl: pending.authorizationUrl())
    _ = try await client.resumeSignIn(redirectUrl: redirect)
    #expect(client.state() == .signedIn)
}

@Test func aThrownErrorShowsTheMessage() async throws {
    let world = try World()
    do {
        _ = try await world.client().resumeSignIn(redirectUrl: "https://app.example.com/callback?code=x&state=y")
        Issue.record("no error")
    } catch let error as FfiError {
        guard case .Failed(let details) = error else { return }
        #expect("\(error)".contains(details.message))
        #expect(error.localizedDescription.contains(details.message))
        #expect("\(details)" == details.message)
    }
}

@Test func whatTheServerRevokedEndsWithItsReason() async throws {
    let world = try World()
    let client = try world.client()
    let session = try await world.signIn(client)
    world.server.revokeEverything()
    let error = try await failure { try await session.refresh() }
    #expect(error.kind == "session_ended")
    #expect(error.endReason == "expired_or_revoked")
    #expect(client.state() == .ended(reason: "expired_or_revoked"))
    #expect(session.snapshot() == nil)
}

@Test func aConfigurationThatCannotWorkIsRefused() async throws {
    let world = try World()
    let refused = try await failure { try world.client(issuer: "http://login.example.com") }
    #expect(refused.kind == "configuration")
    #expect(refused.nextStep == "fix_configuration")
    let options = FfiSignInOptions(extra: [FfiExtraParameter(name: "state", value: "mine")])
    let extra = try await failure { try await world.client().beginSignIn(options: options) }
    #expect(extra.code == "extra_reserved")
}

@Test func nobodyListeningMeansThatNothingWasSent() async throws {
    let world = try World()
    // Port 1 of this machine: nobody may listen there but root, and nobody does.
    let error = try await failure {
        try await world.client(issuer: "http://127.0.0.1:1").beginSignIn(options: FfiSignInOptions())
    }
    #expect(error.kind == "network")
    #expect(error.delivery == "not_sent")
    #expect(error.code == "connect_failed")
    #expect(error.isRetryable)
}

@Test func anErrorOfThePlatformsHTTPIsAnUnknownOutcomeAndItsTextIsDropped() async throws {
    let world = try World()
    let client = try world.client(http: ThrowingHTTP())
    let error = try await failure { try await client.beginSignIn(options: FfiSignInOptions()) }
    #expect(error.kind == "network")
    #expect(error.delivery == "unknown_outcome")
    #expect(error.stage == "discovery")
    #expect(!everything(in: error).contains(secret))
}

@Test func storageThatIsLockedSaysSoAndNobodyIsSignedOut() async throws {
    let world = try World()
    let client = try world.client(storage: ThrowingStorage(FfiStorageFailure.Locked))
    let error = try await failure { try await client.session() }
    #expect(error.kind == "storage_locked")
    #expect(error.stage == "storage")
    #expect(client.state() == .storageLocked)

    let lost = try world.client(storage: ThrowingStorage(FfiStorageFailure.Lost))
    #expect(try await failure { try await lost.session() }.kind == "storage_lost")
}

@Test func anErrorOfThePlatformsStorageIsAFailureAndItsTextIsDropped() async throws {
    let world = try World()
    let client = try world.client(storage: ThrowingStorage(Talkative()))
    let read = try await failure { try await client.session() }
    #expect(read.code == "storage_unavailable")
    let written = try await failure { try await client.beginSignIn(options: FfiSignInOptions()) }
    #expect(written.kind == "storage_write_failed")
    #expect(!(everything(in: read) + everything(in: written)).contains(secret))
}

/// Every field, by reflection: a field that is added is looked at too.
private func everything(in error: FfiErrorDetails) -> String {
    Mirror(reflecting: error).children.map { "\($0.value)" }.joined(separator: " ")
}

private struct Talkative: Error, CustomStringConvertible {
    var description: String { "POST \(secret)" }
}

private final class ThrowingHTTP: FfiHttpTransport {
    func send(request _: FfiHttpRequest) async throws -> FfiHttpResponse { throw Talkative() }
}

private final class ThrowingStorage: FfiSecureStorage {
    private let error: any Error

    init(_ error: any Error) {
        self.error = error
    }

    func load(key _: String) throws -> FfiStored? { throw error }

    func commit(key _: String, expected _: UInt64, bytes _: Data) throws -> FfiCommitOutcome { throw error }

    func remove(key _: String, expected _: UInt64) throws -> FfiCommitOutcome { throw error }

    func list(prefix _: String) throws -> [String] { throw error }

    func reserve(key: String, bytes: UInt64) throws { throw FfiStorageFailure.Failed }

    func device() -> String? { nil }

    func place() -> String { "nowhere" }
}
