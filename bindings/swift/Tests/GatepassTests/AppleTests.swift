// What is Apple's, at its seams: each outcome of the sign-in window, each status of the Keychain, time in the background.

import Foundation
import GatepassCore
import Testing

@testable import Gatepass

extension All {
    @Suite struct Presenter {
        private let page = URL(string: "https://as.example/authorize?state=s")!
        private let back = URL(string: "https://app.example.com/callback?code=c")!

        private func open(
            _ window: FakeWindow, _ redirect: String = "https://app.example.com/callback", ephemeral: Bool = false
        ) async throws -> URL? {
            try await WebPresenter(sessions: window, ephemeral: ephemeral).open(page, redirect: redirect)
        }

        private func error(_ code: Int, _ text: [String: Any] = [:], domain: String = WebPresenter.domain) -> NSError {
            NSError(domain: domain, code: code, userInfo: text)
        }

        @Test func theRedirectComesBackAndTheWindowIsClosed() async throws {
            let window = FakeWindow { $0.end(.success(back)) }
            #expect(try await open(window, ephemeral: true) == back)
            #expect(window.started == [.https(host: "app.example.com", path: "/callback")])
            #expect(window.wasEphemeral.withLock { $0 })
            #expect(window.open == 0)
        }

        @Test func whatTheWindowIsToldToWaitFor() async throws {
            let window = FakeWindow { $0.end(.success(back)) }
            _ = try await open(window, "com.example.App:/callback")
            _ = try await open(window, "https://app.example.com:8443/a%20b?x")
            #expect(window.started == [.scheme("com.example.app"), .https(host: "app.example.com", path: "/a%20b")])
        }

        @Test func aRedirectThatTheWindowCannotHandBackIsSaidBeforeItOpens() async throws {
            let window = FakeWindow { $0.end(.success(back)) }
            window.takesHTTPSNow.withLock { $0 = false }
            for redirect in ["https://app.example.com/callback", "http://127.0.0.1/callback", "no url"] {
                do {
                    _ = try await open(window, redirect)
                    Issue.record("no error for \(redirect)")
                } catch BrowserFailure.configuration(let advice) {
                    #expect(!advice.isEmpty)
                }
            }
            #expect(window.started.isEmpty)
            _ = try await open(window, "com.example.app:/callback")
        }

        @Test func aUserWhoDeclines() async {
            let window = FakeWindow { $0.end(.failure(error(1))) }
            await #expect(throws: BrowserFailure.cancelled) { _ = try await open(window) }
        }

        /// PL-03: with the code of a user who declined.
        @Test func pl_03_aMissingAssociationIsNotAUserWhoDeclined() async throws {
            for text: [String: Any] in [
                [NSLocalizedFailureReasonErrorKey: "… associated domains …"], ["NSDebugDescription": "…"],
                [NSUnderlyingErrorKey: error(7, domain: "other")],
            ] {
                let failure = error(1, text)
                let window = FakeWindow { $0.end(.failure(failure)) }
                do {
                    _ = try await open(window)
                    Issue.record("no error")
                } catch BrowserFailure.associationMissing(let advice) {
                    #expect(advice.contains("webcredentials:app.example.com"))
                }
                // A private-use scheme has no association to be missing.
                await #expect(throws: BrowserFailure.cancelled) { _ = try await open(window, "com.example.app:/callback") }
            }
        }

        @Test func aWindowThatIsGoneWhileTheAppIsNotInFrontWasNotClosedByTheUser() async {
            let window = FakeWindow { window in
                window.isActiveNow.withLock { $0 = false }
                window.end(.failure(error(1)))
            }
            await #expect(throws: BrowserFailure.failed) { _ = try await open(window) }
        }

        @Test(arguments: [2, 3]) func pl_04_withoutAWindowToShowItOverItIsTriedOnceMoreWhenTheAppIsInFront(
            code: Int
        ) async throws {
            let once = FakeWindow { window in
                window.end(window.started.count == 1 ? .failure(error(code)) : .success(back))
            }
            #expect(try await open(once) == back)
            #expect(once.activations.withLock { $0 } == 1)
            let never = FakeWindow { $0.end(.failure(error(code))) }
            await #expect(throws: BrowserFailure.noBrowser) { _ = try await open(never) }
            #expect(never.started.count == 2)
        }

        @Test func pl_04_aWindowThatDoesNotStart() async throws {
            let window = FakeWindow { _ in }
            window.starts.withLock { $0 = false }
            await #expect(throws: BrowserFailure.noBrowser) { _ = try await open(window) }
            #expect(window.started.count == 1)
            // Behind another app it is worth another try.
            window.isActiveNow.withLock { $0 = false }
            await #expect(throws: BrowserFailure.noBrowser) { _ = try await open(window) }
            #expect(window.started.count == 3)
        }

        @Test func codesThatNobodyKnows() async {
            for failure in [error(99), error(1, domain: "other"), error(0)] {
                let window = FakeWindow { $0.end(.failure(failure)) }
                await #expect(throws: BrowserFailure.failed) { _ = try await open(window) }
            }
        }

        @Test func anExtensionShowsNone() async {
            let window = FakeWindow { $0.end(.success(back)) }
            window.canPresentNow.withLock { $0 = false }
            await #expect(throws: BrowserFailure.noBrowser) { _ = try await open(window) }
            #expect(window.started.isEmpty)
        }

        @Test func aPageFromWhichNobodyComesBackEndsWhenItIsClosed() async throws {
            let window = FakeWindow { $0.end(.failure(error(1))) }
            #expect(try await open(window, "") == nil)
        }

        @Test func aWindowThatNeverAnswersEndsWithItsTask() async throws {
            let opened = Event<Void>()
            let window = FakeWindow { _ in opened.happen() }
            let visit = Task { try await open(window) }
            try await opened.value()
            visit.cancel()
            await #expect(throws: CancellationError.self) { _ = try await visit.value }
            #expect(window.open == 0)
            // What it says after that goes nowhere.
            window.end(.success(back))
        }

        @Test func aSignInThroughTheWindowAndOneThatIsCalledOff() async throws {
            let world = try World()
            let window = FakeWindow { window in
                Task {
                    let url = try #require(window.url.withLock { $0 })
                    let redirect = try await world.server.browserSignIn(authorizationUrl: url.absoluteString)
                    window.end(.success(try #require(URL(string: redirect))))
                }
            }
            struct Through: Browser {
                let presenter: WebPresenter
                func open(_ url: URL, redirect: String) async throws -> URL? {
                    try await presenter.open(url, redirect: redirect)
                }
            }
            let browser = Through(presenter: WebPresenter(sessions: window, ephemeral: false))
            let session = try await world.gatepass { $0.browser = browser }.signIn()
            #expect(try await world.callAPI(session.accessToken()) == 200)
            try await session.signOut(.local)

            let opened = Event<Void>()
            let silent = FakeWindow { _ in opened.happen() }
            let other = Through(presenter: WebPresenter(sessions: silent, ephemeral: false))
            let gatepass = try world.gatepass { $0.browser = other }
            let signIn = Task { try await failure { try await gatepass.signIn() } }
            try await opened.value()
            gatepass.cancelSignIn()
            #expect(try await signIn.value.kind == .cancelled)
            try await until("the window is closed") { silent.open == 0 }
        }
    }

    @Suite struct Keychain {
        @Test func aSessionInTheKeychain() async throws {
            let world = try World()
            let keychain = FakeKeychain()
            func start() throws -> Gatepass { try world.gatepass { $0.storage = .custom(keychain) } }
            let first = try await start().signIn()
            try await first.refresh()
            let found = try #require(try await start().session())
            #expect(try await found.accessToken() == first.accessToken())
            // Two processes that refresh at once.
            let other = try #require(try await start().session())
            async let one: Void = found.refresh()
            async let two: Void = other.refresh()
            _ = try await (one, two)
            #expect(try await world.callAPI(found.accessToken()) == 200)
            try await found.signOut()
            #expect(try await start().session() == nil)
        }

        @Test func conditionalWritesAndGenerationsThatNeverRepeat() throws {
            let keychain = FakeKeychain()
            let bytes = Data("one".utf8)
            #expect(try keychain.load("a") == nil)
            #expect(try keychain.commit("a", expected: 1, bytes: bytes) == .conflict(current: nil))
            #expect(try keychain.commit("a", expected: 0, bytes: bytes) == .committed(generation: 1))
            let stored = StoredRecord(bytes: bytes, generation: 1)
            #expect(try keychain.commit("a", expected: 0, bytes: bytes) == .conflict(current: stored))
            #expect(try keychain.commit("a", expected: 1, bytes: Data()) == .committed(generation: 2))
            #expect(try keychain.load("a") == StoredRecord(bytes: Data(), generation: 2))
            #expect(try keychain.list(prefix: "a") == ["a"])
            #expect(try keychain.remove("a", expected: 1) == .conflict(current: StoredRecord(bytes: Data(), generation: 2)))
            #expect(try keychain.remove("a", expected: 2) == .committed(generation: 3))
            #expect(try keychain.load("a") == nil)
            #expect(try keychain.list(prefix: "") == [])
            #expect(try keychain.commit("a", expected: 0, bytes: bytes) == .committed(generation: 4))
            #expect(keychain.items.withLock { $0.count } == 1)
        }

        @Test func writersAtOnceOfWhichOneWinsEachTime() async throws {
            let keychain = FakeKeychain()
            let won = try await withThrowingTaskGroup(of: UInt64?.self) { group in
                for _ in 0..<50 {
                    group.addTask {
                        let current = try keychain.load("a")?.generation ?? 0
                        let outcome = try keychain.commit("a", expected: current, bytes: Data([1]))
                        if case .committed(let generation) = outcome { return generation }
                        return nil
                    }
                }
                return try await group.reduce(into: [UInt64]()) { if let won = $1 { $0.append(won) } }
            }
            #expect(Set(won).count == won.count)
            #expect(try keychain.load("a")?.generation == won.max())
        }

        @Test(arguments: [
            (KeychainRecords.interactionNotAllowed, StorageFailure.locked), (KeychainRecords.notAvailable, .locked),
            (KeychainRecords.decode, .lost), (-34_018, .failed), (-25_293, .failed), (-50, .failed),
        ])
        func pl_13_everyStatusIsOneOfThree(status: Int32, failure: StorageFailure) throws {
            let keychain = FakeKeychain()
            _ = try keychain.commit("a", expected: 0, bytes: Data([1]))
            keychain.fails.withLock { $0 = status }
            #expect(throws: failure) { _ = try keychain.load("a") }
            #expect(throws: failure) { _ = try keychain.list(prefix: "") }
            keychain.fails.withLock { $0 = 0 }
            #expect(try keychain.load("a")?.generation == 1)
        }

        /// PL-13: before the first unlock nobody is signed out.
        @Test func pl_13_aLockedDeviceSignsNobodyOut() async throws {
            let world = try World()
            let keychain = FakeKeychain()
            try await world.gatepass { $0.storage = .custom(keychain) }.signIn()
            keychain.fails.withLock { $0 = KeychainRecords.interactionNotAllowed }
            let started = try world.gatepass { $0.storage = .custom(keychain) }
            #expect(try await failure { try await started.signIn() }.kind == .storageLocked)
            #expect(started.state == .storageLocked)
            keychain.fails.withLock { $0 = 0 }
            #expect(try await started.session() != nil)
            #expect(world.tokenRequests == 1)
        }

        @Test func aRecordThatCannotBeReadStandsAtZeroForWhoeverWritesIt() throws {
            let keychain = FakeKeychain()
            _ = try keychain.commit("a", expected: 0, bytes: Data([1]))
            keychain.unreadable.withLock { $0 = ["a"] }
            #expect(throws: StorageFailure.lost) { _ = try keychain.load("a") }
            #expect(try keychain.commit("a", expected: 1, bytes: Data([2])) == .conflict(current: nil))
            #expect(try keychain.commit("a", expected: 0, bytes: Data([2])) == .committed(generation: 2))
            #expect(try keychain.load("a") == StoredRecord(bytes: Data([2]), generation: 2))
        }

        @Test func anItemThatIsNotOursIsNotGuessedAt() throws {
            let keychain = FakeKeychain()
            for mark in ["", "x", "0", "7 gone", "-1", "18446744073709551615"] {
                keychain.items.withLock { $0["a"] = KeychainItem(account: "a", mark: mark, data: Data()) }
                #expect(throws: StorageFailure.failed) { _ = try keychain.load("a") }
            }
        }
    }

    @Suite struct Background {
        @Test func timeIsAskedForAroundARefreshAndNotForATokenAtHand() async throws {
            let world = try World()
            let time = CountedTime()
            let session = try await world.gatepass { $0.background = time }.signIn()
            time.begun.withLock { $0 = 0 }
            _ = try await session.accessToken()
            #expect(time.begun.withLock { $0 } == 0)
            try await session.refresh()
            #expect(time.begun.withLock { $0 } == 1)
            try await until("it is given back") { time.ended.withLock { $0 } >= 1 }
        }

        @Test func theTimeGoesWithTheWorkAndNotWithTheCaller() async throws {
            let world = try World()
            let time = CountedTime()
            let session = try await world.gatepass { $0.background = time }.signIn()
            let before = time.ended.withLock { $0 }
            let gate = try world.server.holdTokenRequest()
            let caller = Task { try await session.refresh() }
            await gate.arrived(count: 1)
            caller.cancel()
            _ = await caller.result
            #expect(time.ended.withLock { $0 } == before)
            gate.release()
            try await until("it is given back") { time.ended.withLock { $0 } == before + 1 }
        }

        @Test func anActivityEndsWithTheWorkOrWithItsTime() async throws {
            for isExpired in [false, true] {
                let ended = Event<Void>()
                let block = Locked<(@Sendable (Bool) -> Void)?>(nil)
                let activity = ExpiringActivity { work in
                    block.withLock { $0 = work }
                    Thread.detachNewThread {
                        work(false)
                        ended.happen()
                    }
                }
                let end = activity.begin()
                if isExpired { block.withLock { $0 }?(true) } else { end() }
                try await ended.value()
                // Late and twice do no harm.
                end()
                block.withLock { $0 }?(true)
            }
        }
    }
}

/// A sign-in window that does what the test says once it is started.
private final class FakeWindow: WebSessions {
    let isActiveNow = Locked(true)
    let takesHTTPSNow = Locked(true)
    let canPresentNow = Locked(true)
    let starts = Locked(true)
    let activations = Locked(0)
    let url = Locked<URL?>(nil)
    let wasEphemeral = Locked(false)
    private let callbacks = Locked<[WebCallback]>([])
    private let windows = Locked(0)
    private let ending = Locked<(@Sendable (Result<URL, any Error>) -> Void)?>(nil)
    private let act: @Sendable (FakeWindow) -> Void

    init(_ act: @escaping @Sendable (FakeWindow) -> Void) {
        self.act = act
    }

    var started: [WebCallback] { callbacks.withLock { $0 } }
    var open: Int { windows.withLock { $0 } }
    var canPresent: Bool { canPresentNow.withLock { $0 } }
    var takesHTTPS: Bool { takesHTTPSNow.withLock { $0 } }
    @MainActor var isActive: Bool { isActiveNow.withLock { $0 } }

    func activation() async { activations.withLock { $0 += 1 } }

    func end(_ result: Result<URL, any Error>) { ending.withLock { $0 }?(result) }

    @MainActor func start(
        _ url: URL, until callback: WebCallback, ephemeral: Bool,
        end: @escaping @Sendable (Result<URL, any Error>) -> Void
    ) -> (any WebSession)? {
        callbacks.withLock { $0.append(callback) }
        guard starts.withLock({ $0 }) else { return nil }
        self.url.withLock { $0 = url }
        wasEphemeral.withLock { $0 = ephemeral }
        ending.withLock { $0 = end }
        windows.withLock { $0 += 1 }
        act(self)
        return Window(windows)
    }

    private final class Window: WebSession {
        private let windows: Locked<Int>

        init(_ windows: Locked<Int>) {
            self.windows = windows
        }

        func cancel() { windows.withLock { $0 -= 1 } }
    }
}

/// The Security calls, on a dictionary, each in one transaction as the real ones are.
private final class FakeKeychain: SecureStorage, KeychainCalls {
    let items = Locked<[String: KeychainItem]>([:])
    let fails = Locked<Int32>(0)
    let unreadable = Locked<Set<String>>([])

    var place: String { "keychain@\(ObjectIdentifier(self))" }
    private var records: KeychainRecords { KeychainRecords(calls: self) }

    func load(_ key: String) throws -> StoredRecord? { try records.load(key) }

    func commit(_ key: String, expected: UInt64, bytes: Data) throws -> CommitOutcome {
        try records.commit(key, expected: expected, bytes: bytes)
    }

    func remove(_ key: String, expected: UInt64) throws -> CommitOutcome { try records.remove(key, expected: expected) }

    func list(prefix: String) throws -> [String] { try records.list(prefix: prefix) }

    private var status: Int32 { fails.withLock { $0 } }

    func copy(_ account: String) -> (Int32, KeychainItem?) {
        if status != 0 { return (status, nil) }
        if unreadable.withLock({ $0.contains(account) }) { return (KeychainRecords.decode, nil) }
        return items.withLock { items in items[account].map { (0, $0) } ?? (KeychainRecords.notFound, nil) }
    }

    func copyAll() -> (Int32, [KeychainItem]) {
        if status != 0 { return (status, []) }
        let all = items.withLock { items in
            items.values.map { KeychainItem(account: $0.account, mark: $0.mark, data: nil) }
        }
        return all.isEmpty ? (KeychainRecords.notFound, []) : (0, all)
    }

    func add(_ item: KeychainItem) -> Int32 {
        if status != 0 { return status }
        return items.withLock { items in
            guard items[item.account] == nil else { return KeychainRecords.duplicate }
            items[item.account] = item
            return 0
        }
    }

    func update(_ account: String, marked: String, to item: KeychainItem) -> Int32 {
        if status != 0 { return status }
        return items.withLock { items in
            guard items[account]?.mark == marked else { return KeychainRecords.notFound }
            items[account] = item
            unreadable.withLock { _ = $0.remove(account) }
            return 0
        }
    }
}

private final class CountedTime: BackgroundTime {
    let begun = Locked(0)
    let ended = Locked(0)

    func begin() -> @Sendable () -> Void {
        begun.withLock { $0 += 1 }
        return { [ended] in ended.withLock { $0 += 1 } }
    }
}
