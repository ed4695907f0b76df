// The sign-in window of Apple's systems: what its outcomes mean. The window itself is at a seam.

import Foundation

/// What ends a visit, as the sign-in window is told.
enum WebCallback: Sendable, Hashable {
    /// A claimed https URL: `ASWebAuthenticationSession.Callback.https(host:path:)`.
    case https(host: String, path: String)
    /// A private-use scheme.
    case scheme(String)
    /// Nothing: the browser does not come back.
    case none
}

/// One window that is open.
@MainActor protocol WebSession: AnyObject {
    /// Closes it.
    func cancel()
}

/// The platform under the presenter.
protocol WebSessions: Sendable {
    /// Whether this is an app, which can show a window. An extension cannot.
    var canPresent: Bool { get }

    /// Whether the window can be told of an https callback: from iOS 17.4, macOS 14.4 and visionOS 1.1 on.
    var takesHTTPS: Bool { get }

    /// Whether the app is in front of the user.
    @MainActor var isActive: Bool { get }

    /// Waits until it is.
    func activation() async

    /// Opens a window; `nil` if it does not open. It tells its end once, or never.
    @MainActor func start(
        _ url: URL, until callback: WebCallback, ephemeral: Bool,
        end: @escaping @Sendable (Result<URL, any Error>) -> Void
    ) -> (any WebSession)?
}

/// Shows pages in the sign-in window, and says what came of it. Every visit ends: if nothing else does it, by its task's being
/// cancelled, which the core sees to at the deadline of the sign-in.
struct WebPresenter: Sendable {
    let sessions: any WebSessions
    let ephemeral: Bool

    /// `ASWebAuthenticationSessionErrorDomain` and the codes of its enumeration.
    static let domain = "com.apple.AuthenticationServices.WebAuthenticationSession"
    static let canceledLogin = 1
    static let presentationContextNotProvided = 2
    static let presentationContextInvalid = 3

    func open(_ url: URL, redirect: String) async throws -> URL? {
        guard sessions.canPresent else { throw BrowserFailure.noBrowser }
        let callback = try callback(for: redirect)
        do {
            return try await visit(url, until: callback)
        } catch Refusal.notInFront {
            // Once more when the app is in front, and then it is final.
            await sessions.activation()
            try Task.checkCancellation()
        }
        do {
            return try await visit(url, until: callback)
        } catch Refusal.notInFront {
            throw BrowserFailure.noBrowser
        }
    }

    private enum Refusal: Error {
        /// The system shows no window, for the app is not in front, or has none to show it over.
        case notInFront
    }

    func callback(for redirect: String) throws -> WebCallback {
        guard !redirect.isEmpty else { return .none }
        let parts = URLComponents(string: redirect)
        guard let parts, let scheme = parts.scheme?.lowercased() else {
            throw BrowserFailure.configuration(advice: "the redirect is no URL")
        }
        switch scheme {
        case "https":
            guard sessions.takesHTTPS else {
                throw BrowserFailure.configuration(
                    advice: "before iOS 17.4 and macOS 14.4 the system's sign-in window hands no https redirect back; "
                        + "give GatepassConfig a redirect with a private-use scheme there, such as com.example.app:/callback"
                )
            }
            return .https(host: parts.host ?? "", path: parts.percentEncodedPath)
        case "http":
            throw BrowserFailure.configuration(
                advice: "the system's sign-in window hands no http redirect back; register a claimed https one, or set "
                    + "GatepassConfig.browser to one that opens the user's browser"
            )
        default:
            return .scheme(scheme)
        }
    }

    /// The redirect; `nil` where nothing was to come back.
    private func visit(_ url: URL, until callback: WebCallback) async throws -> URL? {
        let outcome = Outcome<URL>()
        let open = OpenWindow()
        let redirect: Result<URL, any Error>
        do {
            let value = try await withTaskCancellationHandler {
                try await open.start(sessions, url, callback, ephemeral, outcome)
                return try await withCheckedThrowingContinuation { outcome.give(to: $0) }
            } onCancel: {
                // The system may never say that a window that was closed by program is closed.
                outcome.settle(.failure(CancellationError()))
            }
            redirect = .success(value)
        } catch {
            redirect = .failure(error)
        }
        let isActive = await sessions.isActive
        await open.close()
        switch redirect {
        case .success(let url):
            // Whether it is ours is for the core to say: the system compares less than all of it.
            return url
        case .failure(let error):
            if let refusal = error as? Refusal { throw refusal }
            if error is CancellationError || error is BrowserFailure { throw error }
            // Nobody was to come back: the user closed the page, and that is all that can be known.
            if callback == .none, (error as NSError).code == Self.canceledLogin { return nil }
            throw meaning(of: error as NSError, callback, isActive: isActive)
        }
    }

    private func meaning(of error: NSError, _ callback: WebCallback, isActive: Bool) -> any Error {
        guard error.domain == Self.domain else { return BrowserFailure.failed }
        switch error.code {
        case Self.canceledLogin:
            if case .https(let host, _) = callback, Self.explains(error) {
                return BrowserFailure.associationMissing(
                    advice: "the system does not accept \(host) for this app: the entitlement "
                        + "com.apple.developer.associated-domains needs webcredentials:\(host), and "
                        + "https://\(host)/.well-known/apple-app-site-association needs the app's id under webcredentials; "
                        + "`gatepass doctor` looks at both"
                )
            }
            // A button is pressed in front of the user. Else the system took the window away.
            return isActive ? BrowserFailure.cancelled : BrowserFailure.failed
        case Self.presentationContextNotProvided, Self.presentationContextInvalid:
            return Refusal.notInFront
        default:
            return BrowserFailure.failed
        }
    }

    /// A missing association comes as the code of a user who declined, with a text; a user who declined comes with none.
    private static func explains(_ error: NSError) -> Bool {
        let keys = [NSLocalizedFailureReasonErrorKey, NSUnderlyingErrorKey, "NSDebugDescription", NSLocalizedDescriptionKey]
        return keys.contains { error.userInfo[$0] != nil }
    }

    /// Holds the window for as long as the visit lasts: nobody else does.
    @MainActor private final class OpenWindow {
        private var session: (any WebSession)?

        nonisolated init() {}

        func start(
            _ sessions: any WebSessions, _ url: URL, _ callback: WebCallback, _ ephemeral: Bool, _ outcome: Outcome<URL>
        ) throws {
            session = sessions.start(url, until: callback, ephemeral: ephemeral) { outcome.settle($0) }
            if session == nil { throw sessions.isActive ? BrowserFailure.noBrowser : Refusal.notInFront }
        }

        func close() {
            session?.cancel()
            session = nil
        }
    }
}
