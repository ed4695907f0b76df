// The sign-in window of Apple's systems.

#if canImport(AuthenticationServices)
    import AuthenticationServices
    import Foundation

    #if canImport(UIKit)
        import UIKit
    #elseif canImport(AppKit)
        import AppKit
    #endif

    /// The system's sign-in window, `ASWebAuthenticationSession`: what Apple's systems use unless ``GatepassConfig/browser``
    /// says otherwise.
    ///
    /// A claimed https redirect is handed back from iOS 17.4 and macOS 14.4 on, and needs the associated domain
    /// `webcredentials:` of its host; before, the redirect must have a private-use scheme, which need not be declared. In an
    /// extension, which cannot show it, it ends as ``BrowserFailure/noBrowser``: sign in from the app.
    public struct WebAuthenticationBrowser: Browser {
        private let presenter: WebPresenter

        /// The system's window.
        ///
        /// - Parameters:
        ///   - ephemeral: Whether it shares no cookies with the user's browser, so that nobody is signed in already and nobody
        ///     stays so. The system then asks no "wants to use … to sign in".
        ///   - anchor: The window to show it over; of several, the key window of the scene in front unless given.
        public init(ephemeral: Bool = false, anchor: (@MainActor @Sendable () -> ASPresentationAnchor?)? = nil) {
            let inFront: @MainActor @Sendable () -> ASPresentationAnchor? = { Self.windowInFront() }
            presenter = WebPresenter(sessions: AppleWebSessions(anchor: anchor ?? inFront), ephemeral: ephemeral)
        }

        /// Shows the page, and waits for the redirect.
        public func open(_ url: URL, redirect: String) async throws -> URL? {
            try await presenter.open(url, redirect: redirect)
        }

        @MainActor private static func windowInFront() -> ASPresentationAnchor? {
            #if canImport(UIKit)
                let scenes = UIApplication.shared.connectedScenes.compactMap { $0 as? UIWindowScene }
                let scene = scenes.first { $0.activationState == .foregroundActive } ?? scenes.first
                return scene?.windows.first { $0.isKeyWindow } ?? scene?.windows.first
            #else
                return NSApplication.shared.keyWindow ?? NSApplication.shared.windows.first
            #endif
        }
    }

    private struct AppleWebSessions: WebSessions {
        let anchor: @MainActor @Sendable () -> ASPresentationAnchor?

        var canPresent: Bool { !Bundle.main.bundlePath.hasSuffix(".appex") }

        var takesHTTPS: Bool {
            if #available(iOS 17.4, macOS 14.4, tvOS 17.4, visionOS 1.1, watchOS 10.4, *) { true } else { false }
        }

        @MainActor var isActive: Bool {
            #if canImport(UIKit)
                UIApplication.shared.applicationState == .active
            #else
                NSApplication.shared.isActive
            #endif
        }

        func activation() async {
            #if canImport(UIKit)
                let name = UIApplication.didBecomeActiveNotification
            #else
                let name = NSApplication.didBecomeActiveNotification
            #endif
            let activations = AsyncStream<Void> { continuation in
                let observer = Observer(
                    NotificationCenter.default.addObserver(forName: name, object: nil, queue: nil) { _ in
                        continuation.yield()
                    }
                )
                continuation.onTermination = { _ in observer.remove() }
            }
            if await isActive { return }
            for await _ in activations { return }
        }

        @MainActor func start(
            _ url: URL, until callback: WebCallback, ephemeral: Bool,
            end: @escaping @Sendable (Result<URL, any Error>) -> Void
        ) -> (any WebSession)? {
            guard let anchor = anchor() else { return nil }
            let session = AppleWebSession(anchor)
            return session.start(url, until: callback, ephemeral: ephemeral, end: end) ? session : nil
        }
    }

    @MainActor private final class AppleWebSession: NSObject, WebSession, ASWebAuthenticationPresentationContextProviding {
        private let anchor: ASPresentationAnchor
        private var session: ASWebAuthenticationSession?

        init(_ anchor: ASPresentationAnchor) {
            self.anchor = anchor
        }

        func start(
            _ url: URL, until callback: WebCallback, ephemeral: Bool,
            end: @escaping @Sendable (Result<URL, any Error>) -> Void
        ) -> Bool {
            // Not isolated: nothing says on which thread the system calls it.
            let completion: @Sendable (URL?, (any Error)?) -> Void = { url, error in
                if let url {
                    end(.success(url))
                } else {
                    end(.failure(error ?? BrowserFailure.failed))
                }
            }
            let session: ASWebAuthenticationSession
            switch callback {
            case .https(let host, let path):
                guard #available(iOS 17.4, macOS 14.4, tvOS 17.4, visionOS 1.1, watchOS 10.4, *) else { return false }
                session = ASWebAuthenticationSession(
                    url: url, callback: .https(host: host, path: path), completionHandler: completion
                )
            case .scheme(let scheme):
                session = ASWebAuthenticationSession(url: url, callbackURLScheme: scheme, completionHandler: completion)
            case .none:
                session = ASWebAuthenticationSession(url: url, callbackURLScheme: nil, completionHandler: completion)
            }
            session.presentationContextProvider = self
            session.prefersEphemeralWebBrowserSession = ephemeral
            self.session = session
            return session.start()
        }

        func cancel() {
            session?.cancel()
            session = nil
        }

        func presentationAnchor(for _: ASWebAuthenticationSession) -> ASPresentationAnchor { anchor }
    }

    /// What NotificationCenter gives to be given back.
    private final class Observer: @unchecked Sendable {
        // Handed from the one who makes it to the one who removes it, and looked into by neither: hence @unchecked.
        private let token: any NSObjectProtocol

        init(_ token: any NSObjectProtocol) {
            self.token = token
        }

        func remove() {
            NotificationCenter.default.removeObserver(token)
        }
    }
#endif
