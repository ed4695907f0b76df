// The front door.

package io.gatepass

import io.gatepass.ffi.FfiClient
import io.gatepass.ffi.FfiHttp
import io.gatepass.ffi.FfiListener
import io.gatepass.ffi.FfiPublication
import io.gatepass.ffi.FfiSession
import io.gatepass.ffi.FfiSessionEvent
import java.util.concurrent.CompletableFuture
import java.util.concurrent.ConcurrentHashMap
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.channels.BufferOverflow
import kotlinx.coroutines.flow.MutableSharedFlow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.SharedFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asSharedFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.future.future

/**
 * One app's client at one authorization server. Make one, and keep it for as long as the app runs.
 *
 * ```
 * val gatepass = Gatepass("com.example.my-app", issuer = "https://login.example.com", clientId = "my-app",
 *     api = "https://api.example.com")
 * val session = gatepass.session() ?: gatepass.signIn()
 * val token = session.accessToken()
 * session.signOut()
 * ```
 *
 * Every suspending function is safe to cancel: the caller stops waiting, and what it waited for goes on. Each has a twin for
 * Java that gives a [CompletableFuture], and cancelling that does the same.
 *
 * The modules for the platforms make it: the function `Gatepass` of `gatepass-jvm`.
 */
public class Gatepass @GatepassPlatformApi constructor(config: GatepassConfig) : AutoCloseable {
    /** What opens pages for this client; `null` where the native library does. */
    @GatepassPlatformApi
    public val browser: Browser? = config.browser
    internal val clock: TokenClock = config.tokenClock
    private val published = Published(clock)
    private val sessions = ConcurrentHashMap<String, Known>()
    private val futures = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val client: FfiClient = calling {
        FfiClient(
            config.toFfi(),
            config.transport?.let { FfiHttp.Platform(ForeignTransport(it)) } ?: FfiHttp.BuiltIn,
            config.storage.ffi,
            published,
            config.browser?.let(::ForeignBrowser),
        )
    }

    internal val apis: List<ApiOrigin> =
        client.apis().map { ApiOrigin(it.scheme, it.host, it.port.toInt(), it.takesOwnToken) }

    /**
     * Whether somebody is signed in, now and at every change. [SessionState.Loading] until [session] or a sign-in has asked
     * storage. Of several sessions one that is signed in is enough; each has a [state][Session.state] of its own.
     *
     * A change is here before whoever waits for it goes on: after [Session.signOut] it is [SessionState.SignedOut]. It is
     * set on a thread of the core's, so a collector must not block in a dispatcher that runs it there and then
     * (`Dispatchers.Unconfined`).
     */
    public val state: StateFlow<SessionState> = published.state.asStateFlow()

    /** What happens to the sessions, from the subscription on. A collector that is slow misses the oldest beyond 64. */
    public val events: SharedFlow<SessionEvent> = published.events.asSharedFlow()

    /**
     * Signs the user in: opens the browser, waits for the redirect, and stores the session. A sign-in that is under way
     * already ends as [GatepassException.Superseded].
     *
     * A caller that is cancelled once the browser is open stops nothing: if the user goes on, they are signed in, and
     * [state] says so. [cancelSignIn] calls the sign-in off.
     *
     * @throws GatepassException of nearly every kind; a session that is stored stays as it was.
     */
    public suspend fun signIn(options: SignInOptions = SignInOptions()): Session =
        sessionOf(calling { client.signIn(options.toFfi()) })

    /**
     * Begins a sign-in and leaves the browser to the caller: the sign-in is in storage before this returns, and the loopback
     * listener, if the redirect is a loopback one, is open.
     *
     * @throws GatepassException as [signIn] before the browser.
     */
    public suspend fun beginSignIn(options: SignInOptions = SignInOptions()): PendingSignIn =
        PendingSignIn(this, calling { client.beginSignIn(options.toFfi()) })

    /** Calls off the sign-in that is under way, if there is one: it ends as [GatepassException.Cancelled]. Returns at once. */
    public fun cancelSignIn(): Unit = client.cancelSignIn()

    /**
     * Finishes a sign-in with the redirect that came back, in this process or a later one. A URL that belongs to no sign-in
     * leaves all of them as they are.
     *
     * @throws GatepassException.Protocol if it belongs to none, [GatepassException.AlreadyHandled] if it was delivered
     *   before; else as [signIn].
     */
    public suspend fun resumeSignIn(redirectUrl: String): Session =
        sessionOf(calling { client.resumeSignIn(redirectUrl) })

    /**
     * The stored session, if somebody is signed in; of several, that of the user who signed in last. Reads storage, and asks
     * no server.
     *
     * @throws GatepassException.StorageLocked and others if storage cannot say. None of them means "nobody".
     */
    public suspend fun session(): Session? = calling { client.session() }?.let(::sessionOf)

    /** All stored sessions, the latest sign-in first: more than one only with [GatepassConfig.severalAccounts]. */
    public suspend fun sessions(): List<Session> = calling { client.sessions() }.map(::sessionOf)

    /**
     * Sees to what was left undone and to what changed meanwhile: call it when the app comes back to the foreground, and
     * when the network is back. Safe to call often.
     *
     * @throws GatepassException if something could not be finished; it is tried again at the next need.
     */
    public suspend fun catchUp(): Unit = calling { client.catchUp() }

    /**
     * Waits until nothing of this client is under way: before a short program exits, so that a refresh whose caller stopped
     * waiting still reaches storage. A sign-in that waits for its redirect counts until it ends: [cancelSignIn] first.
     */
    public suspend fun drain(): Unit = client.drain()

    /**
     * Forgets everything that this client keeps on the device. For "reset this app"; to sign a user out use
     * [Session.signOut], which also tells the server.
     *
     * @throws GatepassException if storage cannot be written. Then something may be left; try again.
     */
    public suspend fun forgetEverything(): Unit = calling { client.forgetEverything() }

    /** The server's metadata, as it sent it: a JSON object. Fetched if it is not at hand. */
    public suspend fun serverMetadataJson(): String = calling { client.serverMetadataJson() }

    /** [signIn] for Java. */
    @JvmOverloads
    public fun signInFuture(options: SignInOptions = SignInOptions()): CompletableFuture<Session> =
        promising { signIn(options) }

    /** [beginSignIn] for Java. */
    @JvmOverloads
    public fun beginSignInFuture(options: SignInOptions = SignInOptions()): CompletableFuture<PendingSignIn> =
        promising { beginSignIn(options) }

    /** [resumeSignIn] for Java. */
    public fun resumeSignInFuture(redirectUrl: String): CompletableFuture<Session> =
        promising { resumeSignIn(redirectUrl) }

    /** [session] for Java. */
    public fun sessionFuture(): CompletableFuture<Session?> = promising { session() }

    /** [sessions] for Java. */
    public fun sessionsFuture(): CompletableFuture<List<Session>> = promising { sessions() }

    /** [catchUp] for Java. */
    public fun catchUpFuture(): CompletableFuture<Void?> = promising {
        catchUp()
        null
    }

    /** [drain] for Java. */
    public fun drainFuture(): CompletableFuture<Void?> = promising {
        drain()
        null
    }

    /** [forgetEverything] for Java. */
    public fun forgetEverythingFuture(): CompletableFuture<Void?> = promising {
        forgetEverything()
        null
    }

    /** [serverMetadataJson] for Java. */
    public fun serverMetadataJsonFuture(): CompletableFuture<String> = promising { serverMetadataJson() }

    /**
     * Gives back what this holds in the native library. Nobody is signed out, and nothing that is under way is stopped. For
     * tests, and for programs that make several; calls after it throw [IllegalStateException], those of its sessions too.
     */
    override fun close() {
        client.close()
        sessions.values.forEach { it.session.ffi.close() }
        sessions.clear()
    }

    internal fun <T> promising(call: suspend () -> T): CompletableFuture<T> = futures.future { call() }

    /** One object for one sign-in, however often it is asked for. */
    internal fun sessionOf(ffi: FfiSession): Session {
        val info = ffi.info()
        val known = sessions.compute(info.id) { _, known ->
            if (known != null && known.epoch >= info.epoch) return@compute known
            val claims = info.claimsJson?.let { json -> info.subject?.let { Claims(it, json) } }
            val session = Session(
                this, ffi, published.placeOf(info.id), info.epoch, info.id, info.issuer, claims, info.scope,
                info.signedInAtUnixMillis,
            )
            Known(info.epoch, session)
        }!!
        if (known.session.ffi !== ffi) ffi.close()
        return known.session
    }

    private class Known(val epoch: ULong, val session: Session)
}

/**
 * The copy of what the core publishes. The core holds it for as long as the client lives, so it holds no client: one that
 * nobody has any more goes with the garbage, although nobody closed it.
 */
private class Published(private val clock: TokenClock) : FfiListener {
    val state = MutableStateFlow<SessionState>(SessionState.Loading)
    val events = MutableSharedFlow<SessionEvent>(0, 64, BufferOverflow.DROP_OLDEST)
    private val places = ConcurrentHashMap<String, SessionPlace>()
    private var latest = 0uL

    fun placeOf(id: String): SessionPlace = places.computeIfAbsent(id) { SessionPlace() }

    /** Called on the one thread of the core, before whoever waits for a change goes on. */
    override fun published(publication: FfiPublication) {
        synchronized(this) {
            if (publication.order <= latest) return
            latest = publication.order
        }
        publication.session?.let { session ->
            val place = placeOf(session.id)
            place.copy.set(session.snapshot?.let { TokenCopy.of(it, session.epoch, clock) })
            place.state.value = session.state.toState()
        }
        state.value = publication.state.toState()
    }

    override fun event(sessionId: String?, event: FfiSessionEvent) {
        events.tryEmit(event.toEvent(sessionId))
    }
}
