// The configuration of a client.

import Foundation
internal import GatepassCore

/// The configuration of a client. What is wrong in it is told by the ``Gatepass`` that is made of it, as
/// ``GatepassError/Kind/configuration`` with a text that says what to write instead.
public struct GatepassConfig: Sendable {
    /// The issuer, exactly as the server's operator names it.
    public let issuer: String
    /// The client id.
    public let clientID: String
    /// The redirect URI, as registered at the server: a claimed https URL, a private-use scheme, or
    /// `http://127.0.0.1/callback`, which stands for any port there (RFC 8252 §7).
    public var redirect: String
    /// The scope to ask for, one token an item. With `offline_access` most servers give a refresh token.
    public var scopes = ["openid", "offline_access"]
    /// Where the browser comes back to after ``SignOut/endSession``, as registered at the server for that purpose.
    public var postLogoutRedirect: String?
    /// Lets several users be signed in side by side, each with a session of their own: ``Gatepass/sessions()``. Needs the
    /// scope `openid`.
    public var severalAccounts = false
    /// Whether the loopback redirect of a sign-in whose process is gone is listened for again. Off for a program that looks
    /// and is gone again.
    public var listensAgain = true
    /// What to do when nobody knows whether the server processed a refresh.
    public var onUnknownOutcome = OnUnknownOutcome.retry
    /// How long a sign-in may take until its redirect is back, in seconds; 15 minutes unless set.
    public var signInTimeout: TimeInterval?
    /// Where sessions are kept: on Apple's systems the Keychain unless set. Elsewhere memory, as no other can be chosen
    /// without a word of the app's: ``SessionStorage``.
    public var storage: SessionStorage
    /// HTTP by something other than the platform's own.
    public var transport: (any HTTPTransport)?
    /// The browser, by something other than the platform's own.
    public var browser: (any Browser)?

    var tokenClock: any TokenClock = SystemTokenClock()
    var background: any BackgroundTime = platformBackgroundTime
    private var apis: [FfiApi] = []
    private var policy = FfiTransportPolicy.httpsOnly

    /// A configuration with what every client needs.
    public init(issuer: String, clientID: String, redirect: String = "http://127.0.0.1/callback") {
        self.issuer = issuer
        self.clientID = clientID
        self.redirect = redirect
        storage = .platformDefault
    }

    /// The origin of an API (`https://api.example.com`) that tokens may be sent to; can be called several times. No other
    /// origin ever gets one. With a `target` it gets tokens of its own.
    public mutating func allow(api origin: String, target: Target? = nil) {
        apis.append(FfiApi(origin: origin, target: target?.ffi))
    }

    /// Allows http to `127.0.0.1` and `[::1]`, for tests against a server on this machine.
    public mutating func allow(_: AllowHTTPOnLoopback) {
        policy = .allowHttpOnLoopback
    }

    var ffi: FfiConfig {
        FfiConfig(
            issuer: issuer, clientId: clientID, redirect: redirect, scopes: scopes, apis: apis, transportPolicy: policy,
            signInTimeoutMillis: signInTimeout.map { UInt64(min(max($0, 0), 1e9) * 1000) },
            postLogoutRedirect: postLogoutRedirect, severalAccounts: severalAccounts,
            withoutListeningAgain: !listensAgain, onUnknownOutcome: onUnknownOutcome.ffi
        )
    }

    /// Apple's systems have HTTP of their own; elsewhere the native library brings it.
    var http: FfiHttp {
        if let transport { return .platform(transport: ForeignTransport(transport)) }
        #if canImport(Darwin)
            return .platform(transport: ForeignTransport(URLSessionTransport()))
        #else
            return .builtIn
        #endif
    }

    var userAgent: (any FfiUserAgent)? {
        if let browser { return ForeignBrowser(browser) }
        #if canImport(AuthenticationServices)
            return ForeignBrowser(WebAuthenticationBrowser())
        #else
            return nil
        #endif
    }
}

/// Says that http on loopback is meant: a word for reviewers to find.
public struct AllowHTTPOnLoopback: Sendable {
    /// Says it.
    public init() {}
}

/// What to do when nobody knows whether the server processed a refresh: a matter of how this server treats a refresh token
/// that comes a second time (RFC 9700 §4.14.2).
public enum OnUnknownOutcome: Sendable, Hashable {
    /// Send the same token again: at once, then 2, 5, 10 and 20 seconds later, and never later than 30 seconds on.
    case retry
    /// Send it again once, at once.
    case retryOnce
    /// Use the access token for as long as it lives, and send the refresh token again only then.
    case retryWhenExpired

    var ffi: FfiOnUnknownOutcome {
        switch self {
        case .retry: .retry
        case .retryOnce: .retryOnce
        case .retryWhenExpired: .retryWhenExpired
        }
    }
}
