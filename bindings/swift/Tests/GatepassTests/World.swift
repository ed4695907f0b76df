// One process is the whole world: the test server, its browser and the app.

import Foundation
import GatepassCore
import Testing

@testable import Gatepass

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

let redirect = "https://app.example.com/callback"

/// Handles of the native library are counted for the whole process: so all tests are in here, one after the other.
@Suite(.serialized) struct All {}

struct World: Sendable {
    let server: FfiTestServer
    let storage = MemoryStorage()

    init(virtualTime: Bool = false) throws {
        server = try virtualTime ? FfiTestServer.startInVirtualTime() : FfiTestServer.start()
    }

    /// A client as one start of the app makes it. All of them share the storage.
    func gatepass(issuer: String? = nil, _ configure: (inout GatepassConfig) -> Void = { _ in }) throws -> Gatepass {
        var config = GatepassConfig(
            issuer: issuer ?? server.issuer(), clientID: server.clientId(), redirect: redirect
        )
        config.scopes = ["openid", "profile", "offline_access"]
        config.allow(AllowHTTPOnLoopback())
        config.allow(api: server.issuer())
        config.storage = .custom(storage)
        config.transport = URLSessionTransport()
        config.browser = TestBrowser { [server] url in
            try await server.browserSignIn(authorizationUrl: url.absoluteString)
        }
        config.tokenClock = WorldClock(server: server)
        configure(&config)
        return try Gatepass(config)
    }

    var tokenRequests: UInt64 { server.requestCount(path: "/token") }

    /// Calls the API as an app would, with the token as the one thing that matters; the status.
    func callAPI(_ token: AccessToken) async throws -> Int {
        var request = URLRequest(url: try #require(URL(string: server.apiUrl())))
        request.setValue("Bearer \(token.value)", forHTTPHeaderField: "Authorization")
        let (_, answer) = try await URLSession.shared.data(for: request)
        return try #require(answer as? HTTPURLResponse).statusCode
    }
}

/// The time of the server and its clients, where it is virtual.
private struct WorldClock: TokenClock {
    let server: FfiTestServer

    func bootMillis() -> UInt64 { server.bootMillis() ?? SystemTokenClock().bootMillis() }
}

/// A browser that does what the test says.
struct TestBrowser: Browser {
    let visit: @Sendable (URL) async throws -> String?

    func open(_ url: URL, redirect _: String) async throws -> URL? {
        try await visit(url).flatMap(URL.init(string:))
    }
}

/// Storage to the contract of the core: conditional commits, generations that never repeat.
final class MemoryStorage: SecureStorage {
    /// A record, or the memory of one: `bytes` is nil once it is removed, and its generation stays.
    private struct Slot {
        var bytes: Data?
        var generation: UInt64

        var stored: StoredRecord? { bytes.map { StoredRecord(bytes: $0, generation: generation) } }
    }

    private let slots = Locked<[String: Slot]>([:])

    var place: String { "memory@\(ObjectIdentifier(self))" }

    func load(_ key: String) -> StoredRecord? { slots.withLock { $0[key]?.stored } }

    func commit(_ key: String, expected: UInt64, bytes: Data) -> CommitOutcome { change(key, expected, bytes) }

    func remove(_ key: String, expected: UInt64) -> CommitOutcome { change(key, expected, nil) }

    func list(prefix: String) -> [String] {
        slots.withLock { slots in slots.filter { $0.key.hasPrefix(prefix) && $0.value.bytes != nil }.map(\.key) }
    }

    private func change(_ key: String, _ expected: UInt64, _ bytes: Data?) -> CommitOutcome {
        slots.withLock { slots in
            let current = slots[key]?.stored
            guard (current?.generation ?? 0) == expected else { return .conflict(current: current) }
            let generation = (slots[key]?.generation ?? 0) + 1
            slots[key] = Slot(bytes: bytes, generation: generation)
            return .committed(generation: generation)
        }
    }
}

/// What the call throws, which must be the one error and say something.
func failure<Value>(of call: () async throws -> Value) async throws -> GatepassError {
    do {
        _ = try await call()
    } catch let error as GatepassError {
        try #require(!error.message.isEmpty)
        try #require(!error.localizedDescription.isEmpty && error.localizedDescription == error.errorDescription)
        return error
    }
    throw NoFailure()
}

struct NoFailure: Error {}

/// Waits until something is so that nothing tells of.
func until(_ what: String, _ isSo: () -> Bool) async throws {
    for _ in 0..<2_000 {
        if isSo() { return }
        try await Task.sleep(nanoseconds: 10_000_000)
    }
    throw NeverSo(what: what)
}

struct NeverSo: Error { let what: String }

/// Something that happens once, and those who wait for it.
final class Event<Value: Sendable>: Sendable {
    private let stream: AsyncStream<Value>
    private let continuation: AsyncStream<Value>.Continuation

    init() {
        (stream, continuation) = AsyncStream.makeStream()
    }

    func happen(_ value: Value) {
        continuation.yield(value)
    }

    func value() async throws -> Value {
        for await value in stream { return value }
        throw CancellationError()
    }
}

extension Event where Value == Void {
    func happen() { happen(()) }
}
