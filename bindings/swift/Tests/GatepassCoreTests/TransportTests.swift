// The HTTP of these tests keeps the contract of the core: a transport that does not could hide what it breaks.

import Foundation
import GatepassCore
import Testing

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

private let http = URLSessionTransport()

@Test(arguments: ["POST", "GET"])
func aRequestWhoseServerHangsUpIsSentOnceAndItsOutcomeIsUnknown(method: String) async throws {
    let server = try OddServer(hangsUp: true)
    #expect(try await failure(of: request(server.url, method)).delivery == .unknownOutcome)
    #expect(server.connections == 1)
}

@Test func theDeadlineHoldsForSilence() async throws {
    let server = try OddServer(hangsUp: false)
    let silent = request(server.url, "GET", timeoutMillis: 1_000)
    let start = Date()
    let failed = try await failure(of: silent)
    #expect(failed.delivery == .unknownOutcome)
    #expect(failed.reason == .timeout)
    #expect(Date().timeIntervalSince(start) < 5)
}

@Test func aRedirectIsAnAnswer() async throws {
    let server = try FfiTestServer.start()
    let back = "\(server.issuer())/callback"
    let url = "\(server.issuer())/authorize?client_id=\(server.clientId())&redirect_uri=\(back)&response_type=token"
    let answer = try await http.send(request: request(url, "GET"))
    #expect((300..<400).contains(answer.status))
    #expect(answer.headers.contains { $0.name.lowercased() == "location" })
    #expect(server.requestCount(path: "/callback") == 0)
}

@Test func aBodyLongerThanAllowedIsCutAndOneThatJustFitsIsNot() async throws {
    let server = try FfiTestServer.start()
    let url = "\(server.issuer())/.well-known/openid-configuration"
    let length = UInt64(try await http.send(request: request(url, "GET")).body.count)
    #expect(try await http.send(request: request(url, "GET", limit: length)).body.count == Int(length))
    #expect(try await failure(of: request(url, "GET", limit: length - 1)).reason == .bodyTooLarge)
}

private func request(
    _ url: String, _ method: String, limit: UInt64 = 1_000_000, timeoutMillis: UInt64 = 10_000
) -> FfiHttpRequest {
    FfiHttpRequest(
        method: method, url: url, headers: [], body: method == "POST" ? Data("code=x".utf8) : Data(),
        timeoutMillis: timeoutMillis, maxResponseBytes: limit, maxConnectionIdleMillis: nil
    )
}

private func failure(of request: FfiHttpRequest) async throws -> (delivery: FfiDelivery, reason: FfiHttpFailureReason) {
    do {
        _ = try await http.send(request: request)
    } catch FfiHttpFailure.Failed(let delivery, let reason) {
        return (delivery, reason)
    }
    throw NoFailure()
}

/// A server that reads what comes and then hangs up, or reads for ever.
private final class OddServer: @unchecked Sendable {
    let url: String
    private let listener: Int32
    // Shared with the thread that accepts: under the lock.
    private let lock = NSLock()
    private var accepted = 0

    var connections: Int { lock.withLock { accepted } }

    init(hangsUp: Bool) throws {
        #if canImport(Glibc)
            listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        #else
            listener = socket(AF_INET, SOCK_STREAM, 0)
        #endif
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, length) == 0 && listen(listener, 8) == 0
                    && getsockname(listener, address, &length) == 0
            }
        }
        try #require(bound)
        url = "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))/token"
        Thread.detachNewThread { [self] in
            while true {
                let connection = accept(listener, nil, nil)
                if connection < 0 { return }
                lock.withLock { accepted += 1 }
                var buffer = [UInt8](repeating: 0, count: 65_536)
                while read(connection, &buffer, buffer.count) > 0, !hangsUp {}
                close(connection)
            }
        }
    }
}
