// HTTP by something other than the native library: the port, and what crosses it.

import Foundation
internal import GatepassCore

/// Sends one request and reads the whole answer. ``URLSessionTransport`` does.
///
/// - Sends a request **at most once**: no retry of any kind, by any layer below. A code or a refresh token that is sent twice
///   can end the session at the server.
/// - Throws ``TransportFailure`` with ``GatepassError/Delivery/notSent`` only where no byte of the body can have left (without
///   a body, none at all). All else is ``GatepassError/Delivery/unknownOutcome``, and so is an error of any other type.
/// - Follows no redirect, keeps no cookies, caches nothing. A status other than 2xx is an answer.
/// - Keeps duplicate headers. Cuts the body at ``TransportRequest/maxResponseBytes`` while it streams. Keeps to
///   ``TransportRequest/timeout`` from the call to the last byte. Honours ``TransportRequest/maxConnectionIdle``.
/// - May be cancelled; the core never cancels a request that carries a code or a refresh token.
public protocol HTTPTransport: Sendable {
    /// Sends one request and reads the whole answer.
    func send(_ request: TransportRequest) async throws -> TransportResponse
}

/// A request, to be sent exactly as it is. It may hold secrets, and does not print them.
public struct TransportRequest: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The method, in capitals.
    public let method: String
    /// Where to. Its query may hold a secret.
    public let url: String
    /// The headers, in order.
    public let headers: [(name: String, value: String)]
    /// The body, empty where there is none.
    public let body: Data
    /// How long the whole exchange may take, in seconds.
    public let timeout: TimeInterval
    /// The longest answer to accept, after any decoding.
    public let maxResponseBytes: UInt64
    /// The longest time, in seconds, that a pooled connection may have been idle before it carries this request; `nil`: any.
    public let maxConnectionIdle: TimeInterval?

    init(_ request: FfiHttpRequest) {
        method = request.method
        url = request.url
        headers = request.headers.map { ($0.name, $0.value) }
        body = request.body
        timeout = TimeInterval(request.timeoutMillis) / 1000
        maxResponseBytes = request.maxResponseBytes
        maxConnectionIdle = request.maxConnectionIdleMillis.map { TimeInterval($0) / 1000 }
    }

    /// Its method and its size.
    public var description: String { "TransportRequest(\(method), \(headers.count) headers, \(body.count) bytes)" }

    /// As ``description``.
    public var debugDescription: String { description }

    /// Nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// An answer, whatever its status. It may hold tokens, and does not print them.
public struct TransportResponse: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The status.
    public let status: Int
    /// The headers, duplicates kept.
    public let headers: [(name: String, value: String)]
    /// The body.
    public let body: Data

    /// An answer from its parts.
    public init(status: Int, headers: [(name: String, value: String)], body: Data) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// Its status and its size.
    public var description: String { "TransportResponse(\(status), \(headers.count) headers, \(body.count) bytes)" }

    /// As ``description``.
    public var debugDescription: String { description }

    /// Nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Why no complete answer was read. It holds no text: what a platform says may quote the request.
public struct TransportFailure: Error, Sendable, Hashable {
    /// What can fail in an exchange.
    public enum Reason: Sendable, Hashable, CaseIterable {
        /// The name of the server did not resolve.
        case nameNotResolved
        /// No connection could be made.
        case connect
        /// The proxy could not be reached, or opened no connection to the server.
        case proxy
        /// The server's certificate is not trusted, not valid now, or for another host.
        case tlsCertificate
        /// The TLS handshake failed for another reason.
        case tls
        /// The deadline passed.
        case timeout
        /// The connection broke.
        case connectionLost
        /// The answer was longer than allowed.
        case bodyTooLarge
        /// What came is not HTTP.
        case invalidAnswer
        /// The transport refused to send the request as given.
        case invalidRequest
        /// Anything else.
        case other

        var ffi: FfiHttpFailureReason {
            switch self {
            case .nameNotResolved: .nameNotResolved
            case .connect: .connect
            case .proxy: .proxy
            case .tlsCertificate: .tlsCertificate
            case .tls: .tls
            case .timeout: .timeout
            case .connectionLost: .connectionLost
            case .bodyTooLarge: .bodyTooLarge
            case .invalidAnswer: .invalidAnswer
            case .invalidRequest: .invalidRequest
            case .other: .other
            }
        }
    }

    /// Whether the request can have reached the server.
    public let delivery: GatepassError.Delivery
    /// What failed.
    public let reason: Reason

    /// A failure from its parts.
    public init(_ delivery: GatepassError.Delivery, _ reason: Reason) {
        self.delivery = delivery
        self.reason = reason
    }
}

/// The core's port, by way of the app's.
final class ForeignTransport: FfiHttpTransport, Sendable {
    private let transport: any HTTPTransport

    init(_ transport: any HTTPTransport) {
        self.transport = transport
    }

    func send(request: FfiHttpRequest) async throws -> FfiHttpResponse {
        do {
            let answer = try await transport.send(TransportRequest(request))
            return FfiHttpResponse(
                status: UInt16(clamping: answer.status),
                headers: answer.headers.map { FfiHeader(name: $0.name, value: $0.value) }, body: answer.body
            )
        } catch let failure as TransportFailure {
            throw FfiHttpFailure.Failed(
                delivery: failure.delivery == .notSent ? .notSent : .unknownOutcome, reason: failure.reason.ffi
            )
        } catch {
            throw FfiHttpFailure.Unexpected
        }
    }
}
