// Whether somebody is signed in, and what happens to sessions.

internal import GatepassCore

/// Whether somebody is signed in. The first value is always ``loading``: it is never guessed before storage has answered.
public enum SessionState: Sendable, Hashable {
    /// Storage has not been asked yet.
    case loading
    /// Nobody ever signed in, or the user signed out.
    case signedOut
    /// Somebody is signed in.
    case signedIn
    /// A key may only be used after the user proved to be present.
    case needsUserPresence
    /// Storage is locked, so nobody can tell yet.
    case storageLocked
    /// The session ended without the user's doing.
    case ended(EndReason)

    init(_ state: FfiSessionState) {
        self =
            switch state {
            case .loading: .loading
            case .signedOut: .signedOut
            case .signedIn: .signedIn
            case .needsUserPresence: .needsUserPresence
            case .storageLocked: .storageLocked
            case .ended(let reason): .ended(EndReason(named: reason))
            }
    }
}

/// Why a session ended. There is no other way for one to end.
public enum EndReason: String, Sendable, Hashable, CaseIterable {
    /// The server refused the refresh token: it expired or was revoked there.
    case expiredOrRevoked = "expired_or_revoked"
    /// The server had rotated the refresh token, and the answer that carried the new one never arrived.
    case rotationLost = "rotation_lost"
    /// The key that the tokens are bound to is gone.
    case keyLost = "key_lost"
    /// Secure storage lost the session.
    case storageLost = "storage_lost"
    /// The session was restored on another device.
    case deviceChanged = "device_changed"
    /// The server answered for another user than the one who signed in.
    case subjectChanged = "subject_changed"
    /// The user signed out.
    case signedOut = "signed_out"

    init(named name: String) {
        self = EndReason(rawValue: name) ?? .expiredOrRevoked
    }
}

/// The state now, and then every change, in order, none of them twice in a row.
///
/// Each `for await` begins with the state as it is then. It ends when its task is cancelled, or when the client it is of is
/// gone.
public struct SessionStates: AsyncSequence, Sendable {
    /// What it gives.
    public typealias Element = SessionState

    let channel: StateChannel

    /// Begins with the state as it is now.
    public func makeAsyncIterator() -> Iterator {
        Iterator(inner: channel.stream().makeAsyncIterator())
    }

    /// Goes through the states.
    public struct Iterator: AsyncIteratorProtocol {
        var inner: AsyncStream<SessionState>.Iterator

        /// The next state, once there is one; `nil` at the end.
        public mutating func next() async -> SessionState? {
            await inner.next()
        }
    }
}

/// Something that happened to a session. Never holds a secret.
public struct SessionEvent: Sendable, Hashable {
    /// What can happen.
    public enum Kind: Sendable, Hashable {
        /// A sign-in completed; the session is stored.
        case signedIn
        /// The tokens were refreshed. The number rises with every change of the session.
        case refreshed(generation: UInt64)
        /// A refresh failed, and the session lives on: the tokens are kept.
        case refreshFailed(GatepassError)
        /// Refreshed tokens could not be stored. They are held in memory, and the write is tried again.
        case storageWriteFailed(GatepassError)
        /// The session ended.
        case ended(EndReason)
        /// The user signed out here.
        case signedOut
        /// A sign-in of an earlier run of the app cannot come to an end any more. Told once.
        case signInInterrupted(diagnosticID: String)
    }

    /// Which session: its ``Session/id``. `nil` where it is about none.
    public let sessionID: String?
    /// What happened.
    public let kind: Kind

    init(_ event: FfiSessionEvent, sessionID: String?) {
        self.sessionID = sessionID
        kind =
            switch event {
            case .signedIn: .signedIn
            case .refreshed(let generation): .refreshed(generation: generation)
            case .refreshFailed(let details): .refreshFailed(GatepassError(details))
            case .storageWriteFailed(let details): .storageWriteFailed(GatepassError(details))
            case .ended(let reason): .ended(EndReason(named: reason))
            case .signedOut: .signedOut
            case .signInInterrupted(let id): .signInInterrupted(diagnosticID: id)
            }
    }
}
