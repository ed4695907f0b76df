// The front door.

import Foundation
internal import GatepassCore

/// One app's client at one authorization server. Make one, and keep it for as long as the app runs.
///
/// ```swift
/// let gatepass = try Gatepass(
///     issuer: "https://login.example.com", clientID: "my-app",
///     redirect: "https://app.example.com/callback", api: "https://api.example.com"
/// )
/// let session = try await gatepass.signIn()  // the stored session, if there is one
/// let (data, _) = try await session.data(for: URLRequest(url: me))
/// try await session.signOut()
/// ```
///
/// Every asynchronous call is safe to cancel: the caller gets `CancellationError` at once, and what it waited for goes on.
/// All else that is thrown is a ``GatepassError``. Safe to use from any thread.
public final class Gatepass: Sendable {
    private let client: FfiClient
    private let sessionsByID: Sessions
    private var calls: Calls { sessionsByID.calls }

    /// A client with the platform's own browser and storage.
    ///
    /// Checks the configuration, and does no I/O, but for encrypted files, which it opens.
    ///
    /// - Parameters:
    ///   - issuer: The issuer, exactly as the server's operator names it.
    ///   - clientID: The client id.
    ///   - redirect: The redirect URI, as registered at the server.
    ///   - api: The origin of the API that tokens may be sent to. For several: ``GatepassConfig/allow(api:target:)``.
    ///   - configure: All else.
    /// - Throws: ``GatepassError`` of the kind ``GatepassError/Kind/configuration`` if something in it cannot work, with a
    ///   text that says what to write instead.
    public convenience init(
        issuer: String, clientID: String, redirect: String, api: String? = nil,
        configure: (inout GatepassConfig) -> Void = { _ in }
    ) throws {
        var config = GatepassConfig(issuer: issuer, clientID: clientID, redirect: redirect)
        if let api { config.allow(api: api) }
        configure(&config)
        try self.init(config)
    }

    /// A client of this configuration.
    ///
    /// - Throws: ``GatepassError`` of the kind ``GatepassError/Kind/configuration``, as above.
    public init(_ config: GatepassConfig) throws {
        let published = Published()
        client = try calling {
            try FfiClient(
                config: config.ffi, http: config.http, storage: config.storage.ffi, listener: published,
                userAgent: config.userAgent
            )
        }
        sessionsByID = Sessions(
            published: published, clock: config.tokenClock, calls: Calls(background: config.background),
            apis: client.apis().map(APIOrigin.init)
        )
    }

    /// Whether somebody is signed in, as far as it is known now. Asks nobody; ``states`` tells every change.
    ///
    /// ``SessionState/loading`` until ``session()`` or a sign-in has asked storage. Of several sessions one that is signed in
    /// is enough; each has a ``Session/state`` of its own. A change is here before whoever waits for it goes on: after
    /// ``Session/signOut(_:)`` it is ``SessionState/signedOut``.
    public var state: SessionState { sessionsByID.published.client.value }

    /// The state now, and then every change, in order. It ends when its task is cancelled.
    ///
    /// ```swift
    /// for await state in gatepass.states { show(state) }
    /// ```
    public var states: SessionStates { SessionStates(channel: sessionsByID.published.client) }

    /// What happens to the sessions, from the call on. A reader that is slow misses the oldest beyond 64.
    public var events: AsyncStream<SessionEvent> { sessionsByID.published.events() }

    /// The stored session if there is one; else signs the user in, as ``signIn(with:)`` does.
    ///
    /// - Throws: ``GatepassError`` of nearly every kind. Storage that cannot say whether there is a session is one of them: no
    ///   browser is opened on a guess.
    @discardableResult
    public func signIn() async throws -> Session {
        if let session = try await session() { return session }
        return try await signIn(with: SignInOptions())
    }

    /// Signs the user in, whether or not somebody is signed in already: opens the browser, waits for the redirect, and stores
    /// the session. A sign-in that is under way already ends as ``GatepassError/Kind/superseded``.
    ///
    /// A caller that is cancelled once the browser is open stops nothing: if the user goes on, they are signed in, and
    /// ``state`` says so. ``cancelSignIn()`` calls the sign-in off.
    ///
    /// - Throws: ``GatepassError`` of nearly every kind; a session that is stored stays as it was.
    @discardableResult
    public func signIn(with options: SignInOptions) async throws -> Session {
        let options = options.ffi
        return sessionsByID.session(of: try await calls.wait { [client] in try await client.signIn(options: options) })
    }

    /// Begins a sign-in and leaves the browser to the caller: the sign-in is in storage before this returns.
    ///
    /// - Throws: ``GatepassError``, as ``signIn(with:)`` before the browser.
    public func beginSignIn(with options: SignInOptions = SignInOptions()) async throws -> PendingSignIn {
        let options = options.ffi
        let pending = try await calls.wait { [client] in try await client.beginSignIn(options: options) }
        return PendingSignIn(pending, sessions: sessionsByID)
    }

    /// Calls off the sign-in that is under way, if there is one: it ends as ``GatepassError/Kind/cancelled``. Returns at once.
    public func cancelSignIn() {
        client.cancelSignIn()
    }

    /// Finishes a sign-in with the redirect that came back, in this process or a later one: for `onOpenURL` and
    /// `onContinueUserActivity`. A URL that belongs to no sign-in leaves all of them as they are.
    ///
    /// - Throws: ``GatepassError``: ``GatepassError/Kind/protocolViolation`` if the URL belongs to no sign-in,
    ///   ``GatepassError/Kind/alreadyHandled`` if it was delivered before; else as ``signIn(with:)``.
    @discardableResult
    public func resumeSignIn(with redirect: URL) async throws -> Session {
        let redirect = redirect.absoluteString
        return sessionsByID.session(
            of: try await calls.wait(inBackground: true) { [client] in
                try await client.resumeSignIn(redirectUrl: redirect)
            }
        )
    }

    /// The stored session, if somebody is signed in; of several, that of the user who signed in last. Reads storage, and asks
    /// no server.
    ///
    /// - Throws: ``GatepassError``, ``GatepassError/Kind/storageLocked`` among others, if storage cannot say. None of them
    ///   means "nobody".
    public func session() async throws -> Session? {
        try await calls.wait { [client] in try await client.session() }.map(sessionsByID.session(of:))
    }

    /// All stored sessions, the latest sign-in first: more than one only with ``GatepassConfig/severalAccounts``.
    ///
    /// - Throws: ``GatepassError``, as ``session()``.
    public func sessions() async throws -> [Session] {
        try await calls.wait { [client] in try await client.sessions() }.map(sessionsByID.session(of:))
    }

    /// Sees to what was left undone and to what changed meanwhile: call it when the app comes back to the foreground, and
    /// when the network is back. Safe to call often.
    ///
    /// - Throws: ``GatepassError`` if something could not be finished; it is tried again at the next need.
    public func catchUp() async throws {
        try await calls.wait(inBackground: true) { [client] in try await client.catchUp() }
    }

    /// Waits until nothing of this client is under way: before a short program exits, so that a refresh whose caller stopped
    /// waiting still reaches storage. A sign-in that waits for its redirect counts until it ends: ``cancelSignIn()`` first.
    ///
    /// - Throws: Nothing but `CancellationError`.
    public func drain() async throws {
        try Task.checkCancellation()
        try await detached { [client, calls] in
            // A call whose caller is gone may not have reached the core yet.
            await calls.ended()
            await client.drain()
        }
    }

    /// Forgets everything that this client keeps on the device. For "reset this app"; to sign a user out use
    /// ``Session/signOut(_:)``, which also tells the server.
    ///
    /// - Throws: ``GatepassError`` if storage cannot be written. Then something may be left; try again.
    public func forgetEverything() async throws {
        try await calls.wait { [client] in try await client.forgetEverything() }
    }

    /// The server's metadata, as it sent it: a JSON object (RFC 8414 §2). Fetched if it is not at hand.
    ///
    /// - Throws: ``GatepassError`` if it cannot be had.
    public func serverMetadata() async throws -> Data {
        Data(try await calls.wait { [client] in try await client.serverMetadataJson() }.utf8)
    }
}

/// The sessions that are in use, each by one object however often it is asked for. What a session needs of its client,
/// so that it need not keep it.
final class Sessions: Sendable {
    let published: Published
    let clock: any TokenClock
    let calls: Calls
    let apis: [APIOrigin]
    private let known = Locked<[String: Session]>([:])

    init(published: Published, clock: any TokenClock, calls: Calls, apis: [APIOrigin]) {
        self.published = published
        self.clock = clock
        self.calls = calls
        self.apis = apis
    }

    func session(of ffi: FfiSession) -> Session {
        let info = ffi.info()
        return known.withLock { known in
            if let session = known[info.id], session.epoch >= info.epoch { return session }
            // Not `self`, which would keep itself: a session has what it needs, and this has the sessions.
            let session = Session(
                ffi, info: info, place: published.place(of: info.id), clock: clock, calls: calls, apis: apis
            )
            known[info.id] = session
            return session
        }
    }
}
