// Opening the browser by something other than the platform's own.

import Foundation
internal import GatepassCore

/// Opens a URL in the platform's browser: for a sign-in, and for ending a session at the server. Never a web view
/// (RFC 8252 §8.12).
///
/// Returns when there is something to say; may stay suspended while the user is busy. Its task is cancelled when the visit is
/// of no use any more. Throws ``BrowserFailure``; any other error counts as ``BrowserFailure/failed``, and its text is shown
/// nowhere.
public protocol Browser: Sendable {
    /// Shows the page to the user.
    ///
    /// - Parameters:
    ///   - url: Where to. It holds state and nonce, or an ID token: it goes to the browser and into no log.
    ///   - redirect: The redirect URI that ends the visit; empty where the browser does not come back.
    /// - Returns: The redirect, where the browser hands it back itself; `nil` where the browser was opened and the redirect
    ///   arrives by another way, such as the loopback listener or ``Gatepass/resumeSignIn(with:)``.
    func open(_ url: URL, redirect: String) async throws -> URL?
}

/// Why a browser could not do its part.
public enum BrowserFailure: Error, Sendable, Hashable {
    /// The user closed the browser or declined.
    case cancelled
    /// There is no browser, or none would open.
    case noBrowser
    /// The browser ended at an error page of the server, and will not come back.
    case refused
    /// The platform does not accept the association between the app and the host of its redirect; what to do about it.
    case associationMissing(advice: String)
    /// The app is not set up for its redirect; what to write.
    case configuration(advice: String)
    /// The visit was cut short, or something else on the platform.
    case failed
}

/// The core's port, by way of the app's.
final class ForeignBrowser: FfiUserAgent, Sendable {
    private let browser: any Browser

    init(_ browser: any Browser) {
        self.browser = browser
    }

    func show(request: FfiUserAgentRequest) async throws -> FfiUserAgentReturn {
        do {
            let redirect = try await browser.open(URL(asPrinted: request.url), redirect: request.redirectUri)
            return redirect.map { .redirected(url: $0.absoluteString) } ?? .opened
        } catch let failure as BrowserFailure {
            switch failure {
            case .cancelled: throw FfiUserAgentFailure.Cancelled
            case .noBrowser: throw FfiUserAgentFailure.NoBrowser
            case .refused: throw FfiUserAgentFailure.Refused
            case .associationMissing(let advice): throw FfiUserAgentFailure.AssociationMissing(advice: advice)
            case .configuration(let advice): throw FfiUserAgentFailure.Configuration(advice: advice)
            case .failed: throw FfiUserAgentFailure.Failed
            }
        } catch {
            throw FfiUserAgentFailure.Unexpected
        }
    }
}
