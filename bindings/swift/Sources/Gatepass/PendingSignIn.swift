// A sign-in whose browser is the caller's affair.

import Foundation
internal import GatepassCore

/// A sign-in that waits for its redirect: show its ``authorizationURL`` in a browser, then wait for ``session()``. The redirect
/// comes in through ``Gatepass/resumeSignIn(with:)``, in this process or another, or by the loopback listener where the
/// redirect URI is a loopback one. The sign-in goes on if this is dropped.
///
/// ```swift
/// let pending = try await gatepass.beginSignIn()
/// print("Open \(pending.authorizationURL)")
/// let session = try await pending.session()
/// ```
public final class PendingSignIn: Sendable, CustomStringConvertible {
    private let ffi: FfiPendingSignIn
    private let sessions: Sessions

    /// The URL for the browser. It holds state and nonce: not for logs.
    public let authorizationURL: URL
    /// For how long after the beginning of the sign-in the server accepts that URL, in seconds; `nil` where it does not limit
    /// that.
    public let authorizationURLLifetime: TimeInterval?
    /// The redirect URI of this sign-in, with the port that was bound where it is a loopback one.
    public let redirectURI: String
    /// Finds the attempt in the logs.
    public let diagnosticID: String

    init(_ ffi: FfiPendingSignIn, sessions: Sessions) {
        self.ffi = ffi
        self.sessions = sessions
        authorizationURL = URL(asPrinted: ffi.authorizationUrl())
        authorizationURLLifetime = ffi.authorizationUrlLifetimeMillis().map { TimeInterval($0) / 1000 }
        redirectURI = ffi.redirectUri()
        diagnosticID = ffi.diagnosticId()
    }

    /// Waits for the sign-in to end. Safe to cancel: the sign-in goes on.
    ///
    /// - Throws: ``GatepassError``, as ``Gatepass/signIn(with:)`` from the browser on.
    public func session() async throws -> Session {
        sessions.session(of: try await sessions.calls.wait { [ffi] in try await ffi.awaitEnd() })
    }

    /// Calls the sign-in off. If its redirect came before, it completes all the same. Returns at once.
    public func cancel() {
        ffi.cancel()
    }

    /// Its ``diagnosticID``, and nothing of the URL.
    public var description: String { "PendingSignIn(\(diagnosticID))" }
}

extension URL {
    /// A URL as the core prints it, which follows the URL standard of browsers: that leaves some characters alone which older
    /// versions of Foundation want escaped.
    init(asPrinted text: String) {
        let allowed = CharacterSet.urlQueryAllowed.union(CharacterSet(charactersIn: "#%[]"))
        let escaped = text.addingPercentEncoding(withAllowedCharacters: allowed) ?? ""
        self = URL(string: text) ?? URL(string: escaped) ?? URL(fileURLWithPath: "/")
    }
}
