// What goes wrong: one type, which says what happened, where, and what to do next.

import Foundation
internal import GatepassCore

/// What every call of Gatepass throws, but for `CancellationError` where the task was cancelled.
///
/// ``kind`` says what happened; ``nextStep`` says what an app should do, which for most apps is all they need.
/// ``localizedDescription`` is a text for the user, ``message`` one for the developer. No field holds a token, a code, a
/// verifier or a key, so it can go into a log or a crash report as it is.
///
/// ```swift
/// do {
///     try await gatepass.signIn()
/// } catch let error as GatepassError where error.kind == .cancelled {
///     // Not this time.
/// } catch let error as GatepassError {
///     show(error.localizedDescription, canRetry: error.isRetryable)
/// }
/// ```
public struct GatepassError: LocalizedError, Sendable, Hashable, CustomStringConvertible {
    /// What can go wrong. A later version may add to these: give a `switch` a `default`.
    public enum Kind: Sendable, Hashable {
        /// The user, or the app on the user's behalf, called the sign-in off.
        case cancelled
        /// The sign-in was cut short from outside, and can be begun anew.
        case interrupted
        /// A newer sign-in took this one's place.
        case superseded
        /// The sign-in was not finished within its time.
        case flowExpired
        /// The redirect was delivered before; its first delivery decided the sign-in.
        case alreadyHandled
        /// No browser could be opened.
        case noBrowser
        /// The redirect cannot be, or was not, delivered to this program.
        case redirectNotCaptured
        /// The platform does not accept the association between the app and its redirect host.
        case associationMissing
        /// The authorization server or the API answered with an error of its own: ``GatepassError/server``.
        case server
        /// Something received breaks a standard; ``GatepassError/clause`` names it.
        case protocolViolation
        /// A protection that is required cannot be had, and none is ever dropped silently.
        case protectionUnavailable
        /// The network failed; whether the request can have reached the server.
        case network(Delivery)
        /// The server, or Gatepass's own guard, asks to wait.
        case rateLimited
        /// Secure storage is locked or does not answer. Nothing is known to be lost.
        case storageLocked
        /// Secure storage lost what it held.
        case storageLost
        /// Secure storage refused to write.
        case storageWriteFailed
        /// A key may only be used after the user proved to be present.
        case needsUserPresence
        /// The session is over; only a new sign-in helps.
        case sessionEnded(EndReason)
        /// The device clock is too far off to check the times in a token.
        case clock
        /// The configuration, or an argument, is wrong. Found before anything is sent.
        case configuration
        /// A defect in Gatepass, or in something that was given to it.
        case `internal`
    }

    /// What an app should do.
    public enum NextStep: Sendable, Hashable {
        /// Call again; nothing was lost.
        case retry
        /// Call again, but not before so many seconds have passed.
        case retryAfter(TimeInterval)
        /// Ask the user to sign in again.
        case signInAgain
        /// Mend the configuration; a retry cannot help.
        case fixConfiguration
        /// Ask the user to do something: unlock the device, install a browser.
        case askUser
        /// Ask whoever runs the server; quote the ``GatepassError/diagnosticID``.
        case contactServer
        /// Nothing is to be done.
        case none
    }

    /// Whether a failed request can have reached the server.
    public enum Delivery: String, Sendable, Hashable {
        /// Certainly not: no byte of it left.
        case notSent = "not_sent"
        /// Perhaps: the outcome at the server is unknown. Whatever is not certain counts as this.
        case unknownOutcome = "unknown_outcome"
    }

    /// What a server said about a failure: untrusted text, bounded and without control characters, to be shown as plain text.
    public struct ServerError: Sendable, Hashable {
        /// The `error` code (RFC 6749 §4.1.2.1, §5.2).
        public let error: String?
        /// The `error_description`.
        public let description: String?
        /// The `error_uri`, only if it is an https URL.
        public let uri: String?
        /// The HTTP status, where there was an HTTP answer.
        public let status: Int?
    }

    /// What happened.
    public let kind: Kind
    /// A text for the developer and the log. Never empty.
    public let message: String
    /// What happened, precisely: `snake_case`, stable, the same in every language. `docs/errors.md` lists them all.
    public let code: String
    /// Where in the journey, `snake_case`, such as `callback` or `refresh`.
    public let stage: String
    /// The clause of the standard that decided, such as `RFC 6749 §10.12`.
    public let clause: String?
    /// Whether the same call, unchanged, can succeed without the user.
    public let isRetryable: Bool
    /// What to do about it.
    public let nextStep: NextStep
    /// What the server said, where it said anything.
    public let server: ServerError?
    /// Finds the attempt in the logs.
    public let diagnosticID: String?

    /// The ``message``.
    public var description: String { message }

    /// A text for the user, in English. For another language take ``kind``, which decides it.
    public var errorDescription: String? {
        switch kind {
        case .cancelled: "You did not sign in."
        case .interrupted: "The sign-in was interrupted."
        case .superseded: "Another sign-in was started instead."
        case .flowExpired: "The sign-in took too long."
        case .alreadyHandled: "This sign-in is finished already."
        case .noBrowser: "The sign-in page could not be opened."
        case .redirectNotCaptured, .associationMissing, .configuration, .internal:
            "This app has a problem with signing in."
        case .server, .protocolViolation, .protectionUnavailable: "The sign-in service has a problem."
        case .network: "The sign-in service cannot be reached."
        case .rateLimited: "The sign-in service is busy."
        case .storageLocked: "Your device is locked."
        case .storageLost: "Your saved sign-in was lost."
        case .storageWriteFailed: "Your sign-in could not be saved."
        case .needsUserPresence: "Your device needs to know that it is you."
        case .sessionEnded(.signedOut): "You signed out."
        case .sessionEnded: "Your sign-in has ended."
        case .clock: "The date or the time of this device seems to be wrong."
        }
    }

    /// Why, for the developer: the ``message``.
    public var failureReason: String? { message }

    /// What the user can do, in English; `nil` where that is nothing.
    public var recoverySuggestion: String? {
        if kind == .clock { return "Set the date and the time of this device, and try again." }
        return switch nextStep {
        case .retry: "Check your connection, and try again."
        case .retryAfter(let seconds):
            "Try again in \(seconds <= 90 ? "\(Int(seconds)) seconds" : "\(Int(seconds / 60) + 1) minutes")."
        case .signInAgain: "Sign in again."
        case .fixConfiguration, .contactServer:
            "Contact the makers of this app\(diagnosticID.map { ", and tell them this number: \($0)" } ?? "")."
        case .askUser:
            switch kind {
            case .storageLocked: "Unlock your device, and try again."
            case .noBrowser: "Check that this device has a web browser."
            default: "Try again."
            }
        case .none: nil
        }
    }

    /// The ``code``, under which `docs/errors.md` has it.
    public var helpAnchor: String? { code }
}

extension GatepassError {
    init(_ details: FfiErrorDetails) {
        kind = Kind(details)
        message = details.message
        code = details.code
        stage = details.stage
        clause = details.clause
        isRetryable = details.isRetryable
        nextStep =
            switch details.nextStep {
            case "retry": .retry
            case "retry_after": .retryAfter(TimeInterval(details.retryAfterSeconds ?? 0))
            case "sign_in_again": .signInAgain
            case "fix_configuration": .fixConfiguration
            case "ask_user": .askUser
            case "none": .none
            default: .contactServer
            }
        server = details.server.map { server in
            ServerError(
                error: server.error, description: server.description, uri: server.uri, status: server.status.map(Int.init)
            )
        }
        diagnosticID = details.diagnosticId
    }
}

extension GatepassError.Kind {
    init(_ details: FfiErrorDetails) {
        self =
            switch details.kind {
            case "cancelled": .cancelled
            case "interrupted": .interrupted
            case "superseded": .superseded
            case "flow_expired": .flowExpired
            case "already_handled": .alreadyHandled
            case "no_browser": .noBrowser
            case "redirect_not_captured": .redirectNotCaptured
            case "association_missing": .associationMissing
            case "server": .server
            case "protocol": .protocolViolation
            case "protection_unavailable": .protectionUnavailable
            case "network": .network(details.delivery == "not_sent" ? .notSent : .unknownOutcome)
            case "rate_limited": .rateLimited
            case "storage_locked": .storageLocked
            case "storage_lost": .storageLost
            case "storage_write_failed": .storageWriteFailed
            case "needs_user_presence": .needsUserPresence
            case "session_ended": .sessionEnded(EndReason(named: details.endReason ?? ""))
            case "clock": .clock
            case "configuration": .configuration
            // One of a newer core too.
            default: .internal
            }
    }
}
