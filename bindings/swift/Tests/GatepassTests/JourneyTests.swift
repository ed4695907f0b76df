// The life of a session through the façade: sign-in, refresh, restart, sign-out.

import Foundation
import GatepassCore
import Testing

@testable import Gatepass

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

extension All {
    @Suite struct Journey {
        @Test func aSessionFromItsFirstURLToItsEnd() async throws {
            let world = try World()
            let gatepass = try world.gatepass()
            #expect(gatepass.state == .loading)
            #expect(try await gatepass.session() == nil)
            #expect(gatepass.state == .signedOut)

            let session = try await gatepass.signIn()
            #expect(gatepass.state == .signedIn)
            #expect(session.state == .signedIn)
            #expect(session.issuer == world.server.issuer())
            let claims = try #require(session.claims)
            struct Known: Decodable { let sub: String }
            #expect(try claims.decoded(as: Known.self).sub == claims.subject)
            #expect(session.scope.contains("offline_access"))
            #expect(try await gatepass.session() === session)
            // Somebody is signed in: no browser.
            #expect(try await gatepass.signIn() === session)

            let first = try await session.accessToken()
            #expect(session.peek() == first)
            #expect(try await world.callAPI(first) == 200)
            #expect(try await session.userinfo().decoded(as: Known.self).sub == claims.subject)
            #expect(try await session.canRefresh())
            #expect(try #require(session.expiresIn) > 0)
            #expect(world.tokenRequests == 1)

            try await session.refresh()
            let second = try await session.accessToken()
            #expect(second != first)
            #expect(session.peek() == second)
            #expect(world.tokenRequests == 2)

            // The app starts again.
            let restarted = try world.gatepass()
            let found = try await restarted.signIn()
            #expect(found.id == session.id)
            #expect(found.peek() == second)
            #expect(world.tokenRequests == 2)

            let report = try await found.signOut()
            #expect(report.revocation == .done)
            #expect(report.browserSession == .notAsked)
            #expect(found.peek() == nil)
            #expect(restarted.state == .signedOut)
            #expect(try await restarted.session() == nil)
            #expect(try await world.callAPI(second) == 401)
            let ended = try await failure { try await found.accessToken() }
            #expect(ended.kind == .sessionEnded(.signedOut))
            #expect(ended.nextStep == .signInAgain)
            #expect(!ended.isRetryable)

            // What the other client did shows once this one has looked.
            try await gatepass.catchUp()
            #expect(session.peek() == nil)
            #expect(gatepass.state == .signedOut)
            #expect(world.tokenRequests == 2)
        }

        @Test func aRedirectIntoANewProcessCompletesThere() async throws {
            let world = try World()
            let pending = try await world.gatepass().beginSignIn(with: SignInOptions(loginHint: "alice"))
            #expect(pending.redirectURI == redirect)
            #expect(!"\(pending)".contains("state="))
            let back = try await world.server.browserSignIn(authorizationUrl: pending.authorizationURL.absoluteString)
            let session = try await world.gatepass().resumeSignIn(with: try #require(URL(string: back)))
            #expect(try await world.callAPI(session.accessToken()) == 200)
        }

        @Test func aHandleOfAnEarlierSignInNeverGivesATokenOfALaterOne() async throws {
            let world = try World()
            let gatepass = try world.gatepass()
            let earlier = try await gatepass.signIn()
            try await earlier.signOut(.local)
            let later = try await gatepass.signIn()
            #expect(earlier.id == later.id)
            #expect(earlier != later)
            #expect(later.peek() != nil)
            #expect(earlier.peek() == nil)
            #expect(try await failure { try await earlier.accessToken() }.kind == .sessionEnded(.signedOut))
            #expect(try await later.accessToken() == later.peek())
        }

        @Test func severalUsersSideBySideEachWithASession() async throws {
            let world = try World()
            let gatepass = try world.gatepass { $0.severalAccounts = true }
            var sessions: [Session] = []
            for user: UInt32 in 0...1 {
                let url = try await gatepass.beginSignIn().authorizationURL.absoluteString
                let back = try await world.server.signInAs(user: user, authorizationUrl: url)
                sessions.append(try await gatepass.resumeSignIn(with: try #require(URL(string: back))))
            }
            #expect(try await gatepass.sessions() == sessions.reversed())
            #expect(sessions[0].claims != sessions[1].claims)
            try await sessions[1].signOut()
            #expect(sessions[1].state == .signedOut)
            #expect(sessions[0].state == .signedIn)
            #expect(gatepass.state == .signedIn)
            try await gatepass.forgetEverything()
            #expect(gatepass.state == .signedOut)
            #expect(sessions[0].peek() == nil)
        }

        @Test func anAPIWithTokensOfItsOwn() async throws {
            let world = try World()
            let other = Target(resources: [world.server.urlOfApi(name: "other")])
            let gatepass = try world.gatepass { $0.allow(api: "https://other.example.com", target: other) }
            let session = try await gatepass.signIn()
            #expect(try session.peek(for: other) == nil)
            let token = try await session.accessToken(for: other)
            #expect(try await session.accessToken() != token)
            #expect(try session.peek(for: other) == token)
            #expect(session.apis.map(\.takesOwnToken) == [true, false])
            var request = URLRequest(url: try #require(URL(string: "https://other.example.com/x")))
            #expect(try await session.authorize(&request))
            #expect(request.value(forHTTPHeaderField: "Authorization") == "Bearer \(token.value)")
        }

        @Test func theSessionAtTheServerIsEndedInTheBrowser() async throws {
            let world = try World()
            let server = world.server
            let gatepass = try world.gatepass {
                $0.postLogoutRedirect = "https://app.example.com/signed-out"
                $0.browser = TestBrowser { url in
                    url.absoluteString.contains("response_type")
                        ? try await server.browserSignIn(authorizationUrl: url.absoluteString)
                        : try await server.browserSignOut(url: url.absoluteString)
                }
            }
            #expect(try await gatepass.signIn().signOut(.endSession).browserSession == .ended)
        }

        /// As an app on Linux does it: HTTP and encrypted files of the native library.
        @Test func whatIsBuiltInKeepsASession() async throws {
            let world = try World()
            let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            defer { try? FileManager.default.removeItem(at: folder) }
            func start() throws -> Gatepass {
                try world.gatepass {
                    $0.transport = nil
                    $0.storage = .encryptedFiles(in: folder, key: .bytes(Data(repeating: 7, count: 32)))
                }
            }
            let first = try await start().signIn().accessToken()
            let found = try #require(try await start().session())
            #expect(found.peek() == first)
            #expect(try await found.signOut().revocation == .done)
            #expect(world.tokenRequests == 1)
        }

        @Test func theServersMetadataAsItSentIt() async throws {
            let metadata = try await World().gatepass().serverMetadata()
            #expect(String(decoding: metadata, as: UTF8.self).contains("\"token_endpoint\""))
        }

        @Test func whatHoldsASecretDoesNotPrintIt() async throws {
            let world = try World()
            let session = try await world.gatepass().signIn()
            let token = try await session.accessToken()
            let body = Data(token.value.utf8)
            let things: [Any] = [
                token, session, session.claims as Any, StoredRecord(bytes: body, generation: 1), FileKey.bytes(body),
                FileKey.passphrase(token.value),
                TransportResponse(status: 200, headers: [("Authorization", "Bearer \(token.value)")], body: body),
                TransportRequest(
                    FfiHttpRequest(
                        method: "POST", url: "https://as.example/?token=\(token.value)",
                        headers: [FfiHeader(name: "Authorization", value: "Bearer \(token.value)")], body: body,
                        timeoutMillis: 1, maxResponseBytes: 1, maxConnectionIdleMillis: nil
                    )
                ),
            ]
            for thing in things {
                var dumped = ""
                dump(thing, to: &dumped)
                let printed = "\(thing)" + String(reflecting: thing) + String(reflecting: [thing]) + dumped
                #expect(!printed.contains(token.value))
                #expect(!printed.contains(try #require(session.claims).subject))
            }
        }
    }
}
