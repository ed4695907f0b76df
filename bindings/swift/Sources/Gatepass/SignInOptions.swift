// What an app may ask for in one sign-in, and what a token is for.

import Foundation
internal import GatepassCore

/// Whether and how the server is to involve the user (OpenID Connect Core §3.1.2.1).
public enum Prompt: Sendable, Hashable {
    /// Show no page; fail if one would be needed. Stands alone.
    case none
    /// Ask the user to sign in again.
    case login
    /// Ask for consent. A refresh token for `offline_access` needs it on many servers.
    case consent
    /// Let the user choose an account.
    case selectAccount
    /// Show the page for a new account. Sent only to a server that announces it; any other shows its usual page.
    case create

    var ffi: FfiPrompt {
        switch self {
        case .none: .none
        case .login: .login
        case .consent: .consent
        case .selectAccount: .selectAccount
        case .create: .create
        }
    }
}

/// What an app may ask for in one sign-in, beyond the client's configuration. What is wrong in it is told by
/// ``Gatepass/signIn(with:)``, as ``GatepassError/Kind/configuration``.
///
/// ```swift
/// try await gatepass.signIn(with: SignInOptions(prompt: [.login], loginHint: "ada@example.com"))
/// ```
public struct SignInOptions: Sendable {
    /// The scope of this one sign-in, one token an item, instead of the client's.
    public var scope: [String]?
    /// How the server is to involve the user. Empty: `consent` is sent where `offline_access` is asked for, and nothing
    /// otherwise.
    public var prompt: [Prompt]
    /// Who is about to sign in: an e-mail address or a user name. The user may sign in as somebody else.
    public var loginHint: String?
    /// The oldest acceptable authentication, in seconds; 0 asks for a new one. The ID token must then say when it was.
    public var maxAge: UInt32?
    /// The authentication contexts wanted, best first. The ID token must then name one of them.
    public var acrValues: [String]
    /// Claims to ask for one by one: a JSON object as in OpenID Connect Core §5.5.
    public var claimsJSON: String?
    /// The languages for the server's pages, best first, as BCP 47 tags such as `fr-CA`.
    public var uiLocales: [String]
    /// The APIs that the access token is for, as absolute URIs without a fragment (RFC 8707 §2).
    public var resources: [String]
    /// The audience, for servers that take it in a parameter of that name.
    public var audience: String?
    /// Parameters that a particular server wants. Names that Gatepass sets itself are refused when the sign-in begins.
    public var extra: [(name: String, value: String)]

    /// Options from their parts, each of which has the value of "not asked for".
    public init(
        scope: [String]? = nil, prompt: [Prompt] = [], loginHint: String? = nil, maxAge: UInt32? = nil,
        acrValues: [String] = [], claimsJSON: String? = nil, uiLocales: [String] = [], resources: [String] = [],
        audience: String? = nil, extra: [(name: String, value: String)] = []
    ) {
        self.scope = scope
        self.prompt = prompt
        self.loginHint = loginHint
        self.maxAge = maxAge
        self.acrValues = acrValues
        self.claimsJSON = claimsJSON
        self.uiLocales = uiLocales
        self.resources = resources
        self.audience = audience
        self.extra = extra
    }

    var ffi: FfiSignInOptions {
        FfiSignInOptions(
            scope: scope, prompt: prompt.map(\.ffi), loginHint: loginHint, maxAgeSeconds: maxAge, acrValues: acrValues,
            claimsJson: claimsJSON, uiLocales: uiLocales, resources: resources, audience: audience,
            extra: extra.map { FfiExtraParameter(name: $0.name, value: $0.value) }
        )
    }
}

/// What an access token is for, where a session has tokens for several APIs: certain APIs (RFC 8707), a narrower scope
/// (RFC 6749 §6), or both. All of them are had with one refresh token.
public struct Target: Sendable, Hashable {
    /// The APIs, by the URIs that the server knows them by.
    public var resources: [String]
    /// Only this scope, which must have been granted at sign-in.
    public var scope: [String]?

    /// A target from its parts.
    public init(resources: [String] = [], scope: [String]? = nil) {
        self.resources = resources
        self.scope = scope
    }

    var ffi: FfiTarget { FfiTarget(resources: resources, scope: scope) }
}
