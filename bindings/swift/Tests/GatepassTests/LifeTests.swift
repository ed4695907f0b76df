// When a token ends, when a caller is cancelled, what is told and in which order, and that nothing is left behind.

import Foundation
import GatepassCore
import Testing

@testable import Gatepass

extension All {
    @Suite struct Expiry {
        @Test func tenThousandTasksAtExpiryCauseOneRefresh() async throws {
            let world = try World(virtualTime: true)
            let session = try await world.gatepass().signIn()
            let old = try await session.accessToken()
            world.server.advance(millis: UInt64(try #require(session.expiresIn) * 1000))
            #expect(session.peek() == nil)
            let asked = Locked(0)
            let gate = try world.server.holdTokenRequest()
            let tokens = Task {
                try await withThrowingTaskGroup(of: AccessToken.self) { group in
                    for _ in 0..<10_000 {
                        group.addTask {
                            asked.withLock { $0 += 1 }
                            return try await session.accessToken()
                        }
                    }
                    return try await group.reduce(into: Set()) { $0.insert($1) }
                }
            }
            await gate.arrived(count: 1)
            try await until("all have asked") { asked.withLock { $0 == 10_000 } }
            gate.release()
            let all = try await tokens.value
            #expect(all.count == 1)
            #expect(all.first != old)
            #expect(all.first == session.peek())
            #expect(world.tokenRequests == 2)
        }

        @Test func aTokenIsRefreshedAheadOfItsEndAndHandedOutUntilThen() async throws {
            let world = try World(virtualTime: true)
            let session = try await world.gatepass().signIn()
            let old = try await session.accessToken()
            // Still good, but not for long.
            world.server.advance(millis: UInt64(try #require(session.expiresIn) * 1000) - 30_000)
            #expect(session.peek() == old)
            #expect(try await session.accessToken() != old)
            #expect(world.tokenRequests == 2)
        }

        @Test func aSessionThatTheServerGaveUpInAYearsAbsenceEnds() async throws {
            let world = try World(virtualTime: true)
            let gatepass = try world.gatepass()
            let session = try await gatepass.signIn()
            world.server.advance(millis: 31_536_000_000)
            #expect(session.peek() == nil)
            let ended = try await failure { try await session.accessToken() }
            #expect(ended.kind == .sessionEnded(.expiredOrRevoked))
            #expect(gatepass.state == .ended(.expiredOrRevoked))
        }
    }

    @Suite struct Cancellation {
        /// Holds requests back once told to, and knows whether one was called off.
        private final class HeldTransport: HTTPTransport {
            let arrived = Event<Void>()
            let release = Event<Void>()
            let holds = Locked(false)
            let cancelled = Locked(false)

            func send(_ request: TransportRequest) async throws -> TransportResponse {
                if holds.withLock({ $0 }) {
                    arrived.happen()
                    try await release.value()
                }
                if Task.isCancelled { cancelled.withLock { $0 = true } }
                return try await URLSessionTransport().send(request)
            }
        }

        @Test func aCallerThatIsCancelledStopsWaitingAndTheRequestGoesOnToItsEnd() async throws {
            let world = try World()
            let http = HeldTransport()
            let gatepass = try world.gatepass { $0.transport = http }
            let session = try await gatepass.signIn()
            let first = try await session.accessToken()
            http.holds.withLock { $0 = true }
            let caller = Task { try await session.refresh() }
            try await http.arrived.value()
            caller.cancel()
            await #expect(throws: CancellationError.self) { try await caller.value }
            #expect(world.tokenRequests == 1)
            http.release.happen()
            http.holds.withLock { $0 = false }
            try await gatepass.drain()
            #expect(!http.cancelled.withLock { $0 })
            #expect(world.tokenRequests == 2)
            #expect(session.peek() != first)
            #expect(try await world.callAPI(session.accessToken()) == 200)
        }

        @Test func aTaskThatIsCancelledAlreadyBeginsNothing() async throws {
            let world = try World()
            let session = try await world.gatepass().signIn()
            let caller = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                try await session.refresh()
            }
            await #expect(throws: CancellationError.self) { try await caller.value }
            #expect(world.tokenRequests == 1)
        }

        @Test func aBrowserThatIsOpenGoesOnWithoutItsCaller() async throws {
            let world = try World()
            let opened = Event<String>()
            let back = Event<String>()
            let gatepass = try world.gatepass {
                $0.browser = TestBrowser { url in
                    opened.happen(url.absoluteString)
                    return try await back.value()
                }
            }
            let caller = Task { try await gatepass.signIn() }
            let url = try await opened.value()
            caller.cancel()
            await #expect(throws: CancellationError.self) { _ = try await caller.value }
            #expect(gatepass.state == .signedOut)
            back.happen(try await world.server.browserSignIn(authorizationUrl: url))
            for await state in gatepass.states where state == .signedIn { break }
            #expect(try await gatepass.session() != nil)
        }

        /// At any moment: before the call begins, in the middle, at its end.
        @Test func atAnyMomentNothingIsLost() async throws {
            let world = try World()
            let gatepass = try world.gatepass()
            var session = try await gatepass.signIn()
            for round in 0..<60 {
                let latest = session
                let caller = Task {
                    switch round % 3 {
                    case 0: try await latest.refresh()
                    case 1: _ = try await gatepass.signIn(with: SignInOptions())
                    default: _ = try await latest.signOut()
                    }
                }
                for _ in 0..<(round * 7) { await Task.yield() }
                caller.cancel()
                _ = await caller.result
                gatepass.cancelSignIn()
                try await gatepass.drain()
                if let now = try await gatepass.session() {
                    #expect(try await world.callAPI(now.accessToken()) == 200)
                    session = now
                } else {
                    #expect(gatepass.state == .signedOut)
                    #expect(latest.peek() == nil)
                    session = try await gatepass.signIn()
                }
            }
        }
    }

    @Suite struct States {
        @Test func everyStateInOrderAndEachBeforeItsCallerGoesOn() async throws {
            let world = try World()
            let gatepass = try world.gatepass()
            var states = gatepass.states.makeAsyncIterator()
            #expect(try await gatepass.session() == nil)
            let session = try await gatepass.signIn()
            for _ in 0..<3 {
                try await session.refresh()
                #expect(try await session.accessToken() == session.peek())
            }
            try await session.signOut(.local)
            #expect(gatepass.state == .signedOut)
            #expect(session.state == .signedOut)
            let second = try await gatepass.signIn()
            world.server.revokeEverything()
            _ = try await failure { try await second.refresh() }
            let wanted: [SessionState] = [
                .loading, .signedOut, .signedIn, .signedOut, .signedIn, .ended(.expiredOrRevoked),
            ]
            for state in wanted { #expect(await states.next() == state) }
            // One that comes later begins with what is.
            var late = gatepass.states.makeAsyncIterator()
            #expect(await late.next() == .ended(.expiredOrRevoked))
        }

        @Test func eventsComeAfterTheStateThatTheyTellOf() async throws {
            let world = try World()
            let gatepass = try world.gatepass()
            var events = gatepass.events.makeAsyncIterator()
            let session = try await gatepass.signIn()
            #expect(await events.next()?.kind == .signedIn)
            try await session.refresh()
            guard case .refreshed = await events.next()?.kind else { throw NoFailure() }
            try await session.signOut(.local)
            let last = await events.next()
            #expect(last?.kind == .signedOut)
            #expect(last?.sessionID == session.id)
        }

        @Test func aReaderThatIsCancelledOrOutlivesTheClientComesToItsEnd() async throws {
            let world = try World()
            var gatepass: Gatepass? = try world.gatepass()
            let states = try #require(gatepass).states
            let reader = Task { await states.reduce(into: []) { $0.append($1) } }
            reader.cancel()
            #expect(await reader.value.count <= 1)
            var events = try #require(gatepass).events.makeAsyncIterator()
            gatepass = nil
            #expect(await events.next() == nil)
        }
    }

    @Suite struct Handles {
        @Test func noHandleIsLeftWhenEverythingIsGone() async throws {
            try await use()
            try await until("no handle is left") { ffiLiveHandles() == 0 }
        }

        private func use() async throws {
            let world = try World()
            let gatepass = try world.gatepass()
            for _ in 0..<3 { try await gatepass.signIn().signOut(.local) }
            let session = try await gatepass.signIn()
            for _ in 0..<100 { _ = try await gatepass.session() }
            _ = try await gatepass.beginSignIn()
            let caller = Task { try await session.refresh() }
            caller.cancel()
            _ = await caller.result
            #expect(ffiLiveHandles() > 0)
            gatepass.cancelSignIn()
            try await gatepass.drain()
        }
    }
}
