// Signing out: how far, and what came of it.

internal import GatepassCore

/// How far a sign-out reaches.
public enum SignOut: Sendable, Hashable {
    /// Forget the session on this device only. The grant at the server lives on.
    case local
    /// Forget it here, then revoke the grant at the server (RFC 7009), without opening a browser.
    case revoke
    /// Forget it here, revoke the grant, then end the user's session at the server as well, in the browser (OpenID Connect
    /// RP-Initiated Logout 1.0), so that the next sign-in asks for the password again.
    case endSession

    var ffi: FfiSignOut {
        switch self {
        case .local: .local
        case .revoke: .revoke
        case .endSession: .endSession
        }
    }
}

/// What came of a sign-out. Here the user is signed out in every case.
public struct SignedOut: Sendable, Hashable {
    /// What came of revoking the grant.
    public enum Revocation: Sendable, Hashable {
        /// The server revoked it.
        case done
        /// It was not asked for, there was no refresh token to revoke, or the session was over before.
        case notNeeded
        /// The server offers no revocation: the grant lives until it expires there.
        case notOffered
        /// The server could not be reached. It is asked again later, for at most seven days and twenty times.
        case queued(GatepassError)
        /// The server refused, for good.
        case failed(GatepassError)
    }

    /// What came of ending the user's session at the server, in the browser.
    public enum BrowserSession: Sendable, Hashable {
        /// It was not asked for, or the session was over before.
        case notAsked
        /// The server ended it: the browser came back with the state of this sign-out.
        case ended
        /// The browser shows the server's page. Whether the user followed it through is not known.
        case opened
        /// The server offers no such thing: its session in the browser lives until it expires there.
        case notOffered
        /// The browser could not be opened, or the server could not be asked where to go.
        case failed(GatepassError)
    }

    /// What came of revoking the grant.
    public let revocation: Revocation
    /// What came of ending the user's session at the server, in the browser.
    public let browserSession: BrowserSession

    init(_ signedOut: FfiSignedOut) {
        revocation =
            switch signedOut.revocation {
            case .done: .done
            case .notNeeded: .notNeeded
            case .notOffered: .notOffered
            case .queued(let details): .queued(GatepassError(details))
            case .failed(let details): .failed(GatepassError(details))
            }
        browserSession =
            switch signedOut.browserSession {
            case .notAsked: .notAsked
            case .ended: .ended
            case .opened: .opened
            case .notOffered: .notOffered
            case .failed(let details): .failed(GatepassError(details))
            }
    }
}
