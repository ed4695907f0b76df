// Every kind of failure, as Swift sees it: typed, never empty, and without what a platform's errors say.

import Foundation
import GatepassCore
import Testing

@testable import Gatepass

private let secret = "hunter2-refresh-token"

private struct Talkative: Error, CustomStringConvertible {
    var description: String { "POST \(secret)" }
}

/// Every field, by reflection: one that is added is looked at too.
private func everything(in error: GatepassError) -> String {
    Mirror(reflecting: error).children.map { "\($0.value)" }.joined(separator: " ")
        + "\(error) \(error.localizedDescription) \(String(reflecting: error)) \(error.recoverySuggestion ?? "")"
}

extension All {
    @Suite struct Errors {
        @Test func configurationBeforeAnythingIsSent() async throws {
            let world = try World()
            let insecure = try await failure { try world.gatepass(issuer: "http://login.example.com") }
            #expect(insecure.kind == .configuration)
            #expect(insecure.code == "issuer_insecure")
            #expect(insecure.nextStep == .fixConfiguration)
            let gatepass = try world.gatepass()
            for (code, options) in [
                ("extra_reserved", SignInOptions(extra: [("state", "mine")])),
                ("scope_malformed", SignInOptions(scope: ["two words"])),
                ("claims_malformed", SignInOptions(claimsJSON: "{")),
            ] {
                let error = try await failure { try await gatepass.signIn(with: options) }
                #expect(error.kind == .configuration)
                #expect(error.code == code)
            }
            let short = try await failure {
                try world.gatepass {
                    $0.storage = .encryptedFiles(in: URL(fileURLWithPath: "/unused"), key: .bytes(Data(count: 31)))
                }
            }
            #expect(short.code == "storage_key_length")
        }

        @Test func whatTheBrowserSays() async throws {
            let world = try World()
            for (thrown, kind, code) in [
                (BrowserFailure.cancelled, GatepassError.Kind.cancelled, "cancelled"),
                (.noBrowser, .noBrowser, "no_browser"),
                (.refused, .configuration, "authorization_page_refused"),
                (.associationMissing(advice: "add it"), .associationMissing, "redirect_host_not_associated"),
                (.configuration(advice: "write it"), .configuration, "redirect_not_declared"),
                (.failed, .interrupted, "user_agent_failed"),
            ] {
                let gatepass = try world.gatepass { $0.browser = TestBrowser { _ in throw thrown } }
                let error = try await failure { try await gatepass.signIn() }
                #expect(error.kind == kind)
                #expect(error.code == code)
                #expect(error.stage == "user_agent")
                if case .associationMissing(let advice) = thrown { #expect(error.message.contains(advice)) }
            }
            let broken = try world.gatepass { $0.browser = TestBrowser { _ in throw Talkative() } }
            let error = try await failure { try await broken.signIn() }
            #expect(error.kind == .interrupted)
            #expect(error.isRetryable)
            #expect(!everything(in: error).contains(secret))
        }

        @Test func supersededByANewerSignInAndCancelledByTheApp() async throws {
            let world = try World()
            let opened = Event<Void>()
            let gatepass = try world.gatepass {
                $0.browser = TestBrowser { _ in
                    opened.happen()
                    return nil
                }
            }
            let first = Task { try await failure { try await gatepass.signIn() } }
            try await opened.value()
            let second = try await gatepass.beginSignIn()
            #expect(try await first.value.kind == .superseded)
            gatepass.cancelSignIn()
            #expect(try await failure { try await second.session() }.kind == .cancelled)
        }

        @Test func flowExpiredInTime() async throws {
            let world = try World(virtualTime: true)
            let gatepass = try world.gatepass { $0.signInTimeout = 120 }
            let pending = try await gatepass.beginSignIn()
            world.server.advance(millis: 120_000)
            let error = try await failure { try await pending.session() }
            #expect(error.kind == .flowExpired)
            #expect(error.nextStep == .signInAgain)
        }

        @Test func aCallbackThatIsNotOursAndOneThatCameBefore() async throws {
            let world = try World()
            let gatepass = try world.gatepass()
            let pending = try await gatepass.beginSignIn()
            let foreign = try #require(URL(string: "\(redirect)?code=x&state=\(secret)"))
            let error = try await failure { try await gatepass.resumeSignIn(with: foreign) }
            #expect(error.kind == .protocolViolation)
            #expect(error.stage == "callback")
            #expect(error.clause != nil)
            #expect(error.diagnosticID != nil)
            #expect(!everything(in: error).contains(secret))
            #expect(world.tokenRequests == 0)

            let ours = try await world.server.browserSignIn(authorizationUrl: pending.authorizationURL.absoluteString)
            let url = try #require(URL(string: ours))
            let gate = try world.server.holdTokenRequest()
            let first = Task { try await gatepass.resumeSignIn(with: url) }
            await gate.arrived(count: 1)
            let again = try await failure { try await gatepass.resumeSignIn(with: url) }
            #expect(again.kind == .alreadyHandled)
            #expect(again.nextStep == .none)
            gate.release()
            #expect(try await first.value == pending.session())
            #expect(gatepass.state == .signedIn)
        }

        @Test func whatTheServerSays() async throws {
            let world = try World()
            let gatepass = try world.gatepass()
            let url = try await gatepass.beginSignIn().authorizationURL.absoluteString
            let denied = try #require(URL(string: try await world.server.browserDeny(authorizationUrl: url)))
            let declined = try await failure { try await gatepass.resumeSignIn(with: denied) }
            #expect(declined.kind == .cancelled)
            #expect(declined.server?.error == "access_denied")
            try world.server.refuseNext(endpoint: "token", status: 400, error: "invalid_client")
            let refused = try await failure { try await gatepass.signIn() }
            #expect(refused.kind == .server)
            #expect(refused.server?.error == "invalid_client")
            #expect(refused.server?.status == 400)
            #expect(refused.stage == "token_exchange")
            #expect(refused.nextStep == .fixConfiguration)
        }

        @Test func aProtectionThatCannotBeHad() async throws {
            let world = try World()
            world.server.stopOfferingS256()
            #expect(try await failure { try await world.gatepass().signIn() }.kind == .protectionUnavailable)
        }

        @Test(arguments: [false, true]) func theNetworkNotSentAndOutcomeUnknown(builtIn: Bool) async throws {
            let world = try World()
            let http: (any HTTPTransport)? = builtIn ? nil : URLSessionTransport()
            // Port 1 of this machine: nobody may listen there but root, and nobody does.
            let nobody = try world.gatepass(issuer: "http://127.0.0.1:1") { $0.transport = http }
            let error = try await failure { try await nobody.signIn() }
            #expect(error.kind == .network(.notSent))
            #expect(error.code == "connect_failed")
            #expect(error.isRetryable)

            let gatepass = try world.gatepass { $0.transport = http }
            try world.server.loseNextTokenAnswer()
            let lost = try await failure { try await gatepass.signIn() }
            #expect(lost.kind == .network(.unknownOutcome))
            #expect(lost.stage == "token_exchange")
            #expect(lost.nextStep == .signInAgain)
        }

        @Test func anErrorOfTheAppsOwnTransportIsAnUnknownOutcomeAndItsTextIsDropped() async throws {
            struct Throwing: HTTPTransport {
                func send(_: TransportRequest) async throws -> TransportResponse { throw Talkative() }
            }
            let gatepass = try World().gatepass { $0.transport = Throwing() }
            let error = try await failure { try await gatepass.signIn() }
            #expect(error.kind == .network(.unknownOutcome))
            #expect(!everything(in: error).contains(secret))
        }

        @Test func rateLimitedWithTheTimeToWait() async throws {
            let world = try World(virtualTime: true)
            let gatepass = try world.gatepass()
            let session = try await gatepass.signIn()
            try world.server.rateLimitNext(endpoint: "token", seconds: 120)
            let error = try await failure { try await session.refresh() }
            #expect(error.kind == .rateLimited)
            #expect(error.nextStep == .retryAfter(120))
            #expect(error.recoverySuggestion == "Try again in 3 minutes.")
            #expect(gatepass.state == .signedIn)
            #expect(session.peek() != nil)
        }

        @Test func storageThatIsLockedLostOrBrokenSignsNobodyOut() async throws {
            let world = try World()
            func with(_ error: any Error) throws -> Gatepass {
                try world.gatepass { $0.storage = .custom(ThrowingStorage(error: error)) }
            }
            let locked = try with(StorageFailure.locked)
            let error = try await failure { try await locked.signIn() }
            #expect(error.kind == .storageLocked)
            #expect(error.nextStep == .askUser)
            #expect(locked.state == .storageLocked)
            let lost = try with(StorageFailure.lost)
            #expect(try await failure { try await lost.session() }.kind == .storageLost)
            let broken = try with(Talkative())
            let read = try await failure { try await broken.session() }
            #expect(read.code == "storage_unavailable")
            let written = try await failure { try await broken.signIn(with: SignInOptions()) }
            #expect(written.kind == .storageWriteFailed)
            #expect(!(everything(in: read) + everything(in: written)).contains(secret))
        }

        @Test func aFullDiskCostsNoSession() async throws {
            let world = try World()
            let disk = FullDisk(world.storage)
            let session = try await world.gatepass { $0.storage = .custom(disk) }.signIn()
            disk.isFull.withLock { $0 = true }
            #expect(try await failure { try await session.refresh() }.kind == .storageWriteFailed)
            #expect(world.tokenRequests == 1)
            disk.isFull.withLock { $0 = false }
            try await session.refresh()
            #expect(try await world.callAPI(session.accessToken()) == 200)
        }

        @Test func whatTheServerRevokedEndsWithItsReason() async throws {
            let world = try World()
            let gatepass = try world.gatepass()
            let session = try await gatepass.signIn()
            world.server.revokeEverything()
            let error = try await failure { try await session.refresh() }
            #expect(error.kind == .sessionEnded(.expiredOrRevoked))
            #expect(error.nextStep == .signInAgain)
            #expect(gatepass.state == .ended(.expiredOrRevoked))
            #expect(session.peek() == nil)
        }

        @Test func aSessionOnAnotherDeviceEnds() async throws {
            let world = try World()
            func on(_ device: String) throws -> Gatepass {
                try world.gatepass { $0.storage = .custom(OnDevice(storage: world.storage, device: device)) }
            }
            try await on("this one").signIn()
            let restored = try on("another one")
            #expect(try await restored.session() == nil)
            #expect(restored.state == .ended(.deviceChanged))
            #expect(world.tokenRequests == 1)
        }

        /// Kinds that the core does not give yet among them, and one that it will never have.
        @Test func everyKindHasANameAndTextsForTheUser() throws {
            let kinds: [(String, GatepassError.Kind)] = [
                ("cancelled", .cancelled), ("interrupted", .interrupted), ("superseded", .superseded),
                ("flow_expired", .flowExpired), ("already_handled", .alreadyHandled), ("no_browser", .noBrowser),
                ("redirect_not_captured", .redirectNotCaptured), ("association_missing", .associationMissing),
                ("server", .server), ("protocol", .protocolViolation),
                ("protection_unavailable", .protectionUnavailable), ("network", .network(.unknownOutcome)),
                ("rate_limited", .rateLimited), ("storage_locked", .storageLocked), ("storage_lost", .storageLost),
                ("storage_write_failed", .storageWriteFailed), ("needs_user_presence", .needsUserPresence),
                ("session_ended", .sessionEnded(.expiredOrRevoked)), ("clock", .clock),
                ("configuration", .configuration), ("internal", .internal), ("of_a_newer_core", .internal),
            ]
            for (name, kind) in kinds {
                let error = GatepassError(details(name))
                #expect(error.kind == kind)
                let text = error.localizedDescription
                #expect(text.hasSuffix(".") && text.count > 10, "\(text)")
                // Words for people: none of ours.
                for word in ["token", "OAuth", "RFC", "null", "nil", "_", "redirect"] { #expect(!text.contains(word)) }
                #expect(error.failureReason == "m")
            }
            #expect(GatepassError(details("network", delivery: "not_sent")).kind == .network(.notSent))
            for reason in EndReason.allCases {
                let error = GatepassError(details("session_ended", endReason: reason.rawValue))
                #expect(error.kind == .sessionEnded(reason))
            }
        }

        private func details(_ kind: String, endReason: String? = nil, delivery: String? = nil) -> FfiErrorDetails {
            FfiErrorDetails(
                message: "m", kind: kind, code: "c", stage: "s", clause: nil, isRetryable: false, nextStep: "none",
                retryAfterSeconds: nil, server: nil, delivery: delivery, endReason: endReason, diagnosticId: nil
            )
        }
    }
}

private struct ThrowingStorage: SecureStorage {
    let error: any Error
    let place = "nowhere"

    func load(_: String) throws -> StoredRecord? { throw error }

    func commit(_: String, expected _: UInt64, bytes _: Data) throws -> CommitOutcome { throw error }

    func remove(_: String, expected _: UInt64) throws -> CommitOutcome { throw error }

    func list(prefix _: String) throws -> [String] { throw error }

    func reserve(_: String, bytes _: UInt64) throws { throw error }
}

private final class FullDisk: SecureStorage {
    let isFull = Locked(false)
    private let storage: MemoryStorage

    init(_ storage: MemoryStorage) {
        self.storage = storage
    }

    var place: String { storage.place }

    func load(_ key: String) -> StoredRecord? { storage.load(key) }

    func commit(_ key: String, expected: UInt64, bytes: Data) -> CommitOutcome {
        storage.commit(key, expected: expected, bytes: bytes)
    }

    func remove(_ key: String, expected: UInt64) -> CommitOutcome { storage.remove(key, expected: expected) }

    func list(prefix: String) -> [String] { storage.list(prefix: prefix) }

    func reserve(_: String, bytes _: UInt64) throws {
        if isFull.withLock({ $0 }) { throw StorageFailure.failed }
    }
}

private struct OnDevice: SecureStorage {
    let storage: MemoryStorage
    let device: String?

    var place: String { "\(storage.place) on \(device ?? "")" }

    func load(_ key: String) -> StoredRecord? { storage.load(key) }

    func commit(_ key: String, expected: UInt64, bytes: Data) -> CommitOutcome {
        storage.commit(key, expected: expected, bytes: bytes)
    }

    func remove(_ key: String, expected: UInt64) -> CommitOutcome { storage.remove(key, expected: expected) }

    func list(prefix: String) -> [String] { storage.list(prefix: prefix) }
}
