// A signed-in session: tokens, requests to APIs, sign-out.

import Foundation
internal import GatepassCore

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// A signed-in session. It outlives the process in storage. Safe to use from any thread.
public final class Session: Sendable, Identifiable, Hashable, CustomStringConvertible {
    private let ffi: FfiSession
    private let place: SessionPlace
    private let clock: any TokenClock
    private let calls: Calls
    /// Which sign-in of it.
    let epoch: UInt64

    /// Names the session, the same after every start of the app.
    public let id: String
    /// The issuer that signed the user in.
    public let issuer: String
    /// The verified claims of the ID token; `nil` if the sign-in did not ask for the scope `openid`.
    public let claims: Claims?
    /// The scope that was granted, one token an item.
    public let scope: [String]
    /// When the user signed in, by the clock of the device.
    public let signedInAt: Date
    /// The origins that tokens may be sent to: those of ``GatepassConfig/allow(api:target:)``, as the core reads them.
    public let apis: [APIOrigin]

    init(
        _ ffi: FfiSession, info: FfiSessionInfo, place: SessionPlace, clock: any TokenClock,
        calls: Calls, apis: [APIOrigin]
    ) {
        self.ffi = ffi
        self.place = place
        self.clock = clock
        self.calls = calls
        self.apis = apis
        epoch = info.epoch
        id = info.id
        issuer = info.issuer
        claims = info.subject.flatMap { subject in info.claimsJson.map { Claims(subject: subject, json: $0) } }
        scope = info.scope
        signedInAt = Date(timeIntervalSince1970: TimeInterval(info.signedInAtUnixMillis) / 1000)
    }

    /// The state of this session, as far as it is known now. Asks nobody.
    public var state: SessionState { place.states.value }

    /// The state of this session now, and then every change, in order.
    public var states: SessionStates { SessionStates(channel: place.states) }

    /// A valid access token if one is at hand. No I/O, no suspension, no call into the native library: fit for any thread and
    /// any hot path.
    ///
    /// `nil` means that ``accessToken()`` would have to ask the server, or that the session is over. What another process did
    /// shows once this one has looked at storage: ``Gatepass/catchUp()``, ``Gatepass/session()``, or ``accessToken()`` near
    /// the end of the token's life.
    public func peek() -> AccessToken? {
        place.token(epoch: epoch, fresh: false, clock: clock)
    }

    /// As ``peek()``, for one of several APIs. Calls the native library; no I/O.
    ///
    /// - Throws: ``GatepassError`` of the kind ``GatepassError/Kind/configuration`` if the target is malformed.
    public func peek(for target: Target) throws -> AccessToken? {
        try calling { try ffi.peekFor(target: target.ffi) }.map(AccessToken.init)
    }

    /// A valid access token, refreshed first if need be. However many callers ask at once, at most one request is sent.
    /// Where a refresh fails while the current token is still valid, the current token is returned.
    ///
    /// - Throws: ``GatepassError``: ``GatepassError/Kind/sessionEnded(_:)`` if only a new sign-in helps; others if trying
    ///   again can: the session lives on.
    public func accessToken() async throws -> AccessToken {
        if let token = place.token(epoch: epoch, fresh: true, clock: clock) { return token }
        return AccessToken(try await calls.wait(inBackground: true) { [ffi] in try await ffi.accessToken() })
    }

    /// A valid access token for one of several APIs, or of a narrower scope, had with the same refresh token.
    ///
    /// - Throws: ``GatepassError``, as ``accessToken()``; ``GatepassError/Kind/configuration`` if the target's scope was not
    ///   granted.
    public func accessToken(for target: Target) async throws -> AccessToken {
        let target = target.ffi
        return AccessToken(try await calls.wait(inBackground: true) { [ffi] in try await ffi.accessTokenFor(target: target) })
    }

    /// Puts the token that belongs to the request's URL into its `Authorization` header, refreshed first if need be. A
    /// request to an origin that is not one of ``apis``, or with a header of its own, stays as it is.
    ///
    /// Whoever sends it must not follow redirects to other origins with the header; ``data(for:using:)`` sees to that.
    ///
    /// - Returns: Whether the token was put in.
    /// - Throws: ``GatepassError``, as ``accessToken()``.
    @discardableResult
    public func authorize(_ request: inout URLRequest) async throws -> Bool {
        guard request.value(forHTTPHeaderField: "Authorization") == nil, let api = api(of: request.url) else {
            return false
        }
        if api.takesOwnToken, let token = place.token(epoch: epoch, fresh: true, clock: clock) {
            request.setValue("Bearer \(token.value)", forHTTPHeaderField: "Authorization")
            return true
        }
        let token = try await calls.wait(inBackground: true) { [ffi] in try await ffi.authorize(url: api.url) }
        guard let token else { return false }
        request.setValue("Bearer \(token)", forHTTPHeaderField: "Authorization")
        return true
    }

    /// After an answer to a request that ``authorize(_:)`` put a token into: if the answer refuses the token (RFC 6750 §3.1),
    /// puts in a newer one, refreshed if need be, to send the request again with, once. However many requests were refused at
    /// once, one refresh is sent.
    ///
    /// - Returns: Whether the request is to be sent again.
    /// - Throws: ``GatepassError``, as ``accessToken()``.
    public func reauthorize(_ request: inout URLRequest, after response: URLResponse) async throws -> Bool {
        guard let response = response as? HTTPURLResponse, response.statusCode == 401,
            let api = api(of: request.url), self.api(of: response.url) == api,
            let header = request.value(forHTTPHeaderField: "Authorization"), header.hasPrefix("Bearer ")
        else { return false }
        let sent = String(header.dropFirst("Bearer ".count))
        let challenge = response.value(forHTTPHeaderField: "WWW-Authenticate").map { [$0] } ?? []
        let newer = try await calls.wait(inBackground: true) { [ffi] in
            try await ffi.reauthorize(url: api.url, token: sent, status: 401, wwwAuthenticate: challenge)
        }
        guard let newer else { return false }
        request.setValue("Bearer \(newer)", forHTTPHeaderField: "Authorization")
        return true
    }

    /// Sends a request with the token that belongs to its URL. An answer that refuses the token is met with one refresh,
    /// however many requests were refused, and one more try; a body that can be sent once is sent once. A redirect to another
    /// origin is followed without the token. Requests to origins other than ``apis`` are sent as they are.
    ///
    /// Safe to cancel: the request is called off, a refresh that is under way is not.
    ///
    /// - Parameters:
    ///   - request: The request.
    ///   - urlSession: Who sends it.
    /// - Throws: ``GatepassError``, as ``accessToken()``; and what `URLSession` throws, which is about the request to the API.
    public func data(for request: URLRequest, using urlSession: URLSession = .shared) async throws -> (Data, URLResponse) {
        var request = request
        guard try await authorize(&request) else { return try await urlSession.data(for: request) }
        let answer = try await send(request, by: urlSession)
        guard request.httpBodyStream == nil, try await reauthorize(&request, after: answer.1) else { return answer }
        return try await send(request, by: urlSession)
    }

    /// Sends it, and the token along only where it stays at the origin that the token is for.
    private func send(_ request: URLRequest, by urlSession: URLSession) async throws -> (Data, URLResponse) {
        let first = request.url
        let header = request.value(forHTTPHeaderField: "Authorization")
        let redirected: @Sendable (URLRequest) -> URLRequest? = { next in
            let isHome = next.url?.scheme == first?.scheme && next.url?.host == first?.host && next.url?.port == first?.port
            var next = next
            next.setValue(isHome ? header : nil, forHTTPHeaderField: "Authorization")
            return next
        }
        #if canImport(Darwin)
            return try await urlSession.data(for: request, delegate: TokenStaysHome(redirected: redirected))
        #else
            // Foundation on Linux asks no delegate of a single task, and sends the header to wherever it is led.
            do {
                let (response, body) = try await Exchange(redirected: redirected).run(request) {
                    URLSession(configuration: urlSession.configuration, delegate: $0, delegateQueue: nil)
                }
                return (body, response)
            } catch Exchange.Failure.failed(let error, _) {
                throw error
            } catch is Exchange.Failure {
                throw URLError(.badServerResponse)
            }
        #endif
    }

    /// Refreshes the tokens now, whatever the state of the current one. For servers that change what a token may do; an app
    /// that calls APIs needs ``accessToken()`` only.
    ///
    /// - Throws: ``GatepassError``, as ``accessToken()``, without falling back to the current token.
    public func refresh() async throws {
        try await calls.wait(inBackground: true) { [ffi] in try await ffi.refresh() }
    }

    /// Whether the server gave a refresh token, so that the session outlives its access token. Reads storage.
    ///
    /// - Throws: ``GatepassError`` if storage cannot say.
    public func canRefresh() async throws -> Bool {
        try await calls.wait { [ffi] in try await ffi.canRefresh() }
    }

    /// How much longer the current access token lives, in seconds; `nil` if there is none, or the server did not say. Calls
    /// the native library; no I/O.
    public var expiresIn: TimeInterval? {
        ffi.expiresInMillis().map { TimeInterval($0) / 1000 }
    }

    /// What the server's userinfo endpoint says of the user (OpenID Connect Core §5.3). Asks the server each time.
    ///
    /// - Throws: ``GatepassError``: ``GatepassError/Kind/configuration`` if the server has no such endpoint, or the sign-in
    ///   did not ask for `openid`; ``GatepassError/Kind/protocolViolation`` if the answer is about another user; else as
    ///   ``accessToken()``.
    public func userinfo() async throws -> Claims {
        let json = try await calls.wait(inBackground: true) { [ffi] in try await ffi.userinfoJson() }
        // The core has checked that both say the same.
        return Claims(subject: claims?.subject ?? "", json: json)
    }

    /// Signs out. The local part is done, durably, before the server is asked, so it holds without a network; ``peek()`` gives
    /// `nil` from here on. With ``SignOut/endSession`` it then waits for the browser, for at most five minutes.
    ///
    /// - Throws: ``GatepassError`` only if secure storage cannot be written: then the user is not signed out.
    @discardableResult
    public func signOut(_ how: SignOut = .revoke) async throws -> SignedOut {
        let how = how.ffi
        return SignedOut(try await calls.wait(inBackground: true) { [ffi] in try await ffi.signOut(how: how) })
    }

    /// The API that a URL belongs to, as `URLSession` reads the URL: it is the one who connects. The core never sees the URL
    /// itself, so the two cannot read it differently.
    private func api(of url: URL?) -> APIOrigin? {
        guard let url, let scheme = url.scheme?.lowercased(), let host = url.host else { return nil }
        let port = url.port ?? (scheme == "https" ? 443 : 80)
        return apis.first { $0.port == port && $0.scheme == scheme && $0.isHost(host) }
    }

    /// Two are equal if they are one sign-in.
    public static func == (one: Session, other: Session) -> Bool {
        one === other || (one.id == other.id && one.epoch == other.epoch && one.place === other.place)
    }

    /// As `==` has it.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(id)
        hasher.combine(epoch)
    }

    /// The ``id``, and nothing secret.
    public var description: String { "Session(\(id))" }
}

/// The verified claims of an ID token, or those of the userinfo endpoint. Personal data: they do not print.
public struct Claims: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Who the user is at this issuer: unique and never reassigned. The pair of issuer and subject is the identity; an e-mail
    /// address is not.
    public let subject: String
    /// All of them, as a JSON object.
    public let json: String

    /// Those that a type of the app's own knows.
    ///
    /// - Throws: `DecodingError` if they are not of that type.
    public func decoded<Value: Decodable>(as type: Value.Type, by decoder: JSONDecoder = JSONDecoder()) throws -> Value {
        try decoder.decode(type, from: Data(json.utf8))
    }

    /// Nothing of them.
    public var description: String { "Claims(redacted)" }

    /// Nothing of them.
    public var debugDescription: String { description }

    /// Nothing of them.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// An origin that tokens may be sent to (RFC 6454 §4).
public struct APIOrigin: Sendable, Hashable, CustomStringConvertible {
    /// `https`, or `http` on loopback.
    public let scheme: String
    /// The host in its one form: lower case, IDNs as they go over the wire, IPv6 addresses without brackets.
    public let host: String
    /// The port, named or not.
    public let port: Int
    /// Whether it takes the token that the sign-in asked for. Another one has a token of its own.
    public let takesOwnToken: Bool

    init(_ origin: FfiApiOrigin) {
        scheme = origin.scheme
        host = origin.host
        port = Int(origin.port)
        takesOwnToken = origin.takesOwnToken
    }

    /// As a URL has it.
    public var description: String { "\(scheme)://\(host.contains(":") ? "[\(host)]" : host):\(port)" }

    var url: String { description + "/" }

    @inline(__always)
    func isHost(_ other: String) -> Bool {
        other == host || other.lowercased() == host || other == "[\(host)]"
    }
}

#if canImport(Darwin)
    /// Asked at every redirect of one request.
    private final class TokenStaysHome: NSObject, URLSessionTaskDelegate, Sendable {
        private let redirected: @Sendable (URLRequest) -> URLRequest?

        init(redirected: @escaping @Sendable (URLRequest) -> URLRequest?) {
            self.redirected = redirected
        }

        func urlSession(
            _: URLSession, task _: URLSessionTask, willPerformHTTPRedirection _: HTTPURLResponse,
            newRequest: URLRequest, completionHandler: @escaping Completion<URLRequest?>
        ) {
            completionHandler(redirected(newRequest))
        }
    }
#endif
