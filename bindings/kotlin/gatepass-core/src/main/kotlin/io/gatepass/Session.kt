// A signed-in session.

package io.gatepass

import io.gatepass.ffi.FfiSession
import java.util.concurrent.CompletableFuture
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow

/**
 * A signed-in session. It outlives the process in storage: [Gatepass.session] finds it again.
 *
 * Every suspending function is safe to cancel: the caller stops waiting, and what it waited for goes on. Each has a twin for
 * Java that gives a [CompletableFuture], and cancelling that does the same.
 */
public class Session internal constructor(
    private val gatepass: Gatepass,
    internal val ffi: FfiSession,
    private val place: SessionPlace,
    private val epoch: ULong,
    /** Names this session, the same after every start of the app. It tells neither issuer nor user. */
    public val id: String,
    /** The issuer that signed the user in, exactly as configured. */
    public val issuer: String,
    /** The verified claims of the ID token; `null` if the sign-in did not ask for the scope `openid`. */
    public val claims: Claims?,
    /** The scope that was granted, which may be less than was asked for. */
    public val scope: List<String>,
    /** When the user signed in, by the clock of the device, in milliseconds since 1970. */
    public val signedInAtUnixMillis: Long,
) {
    /** The state of this session, now and at every change. */
    public val state: StateFlow<SessionState> = place.state.asStateFlow()

    /** The origins that tokens may be sent to: those of [GatepassConfig.api], as the core reads them. */
    public val apis: List<ApiOrigin> get() = gatepass.apis

    /**
     * A valid access token if one is at hand. No I/O, no suspension, no lock, no call into the native library: fit for any
     * thread and any hot path.
     *
     * `null` means that [accessToken] would have to ask the server, or that the session is over. What another process did
     * shows once this one has looked at storage: [Gatepass.catchUp], [Gatepass.session], or [accessToken] near the end of
     * the token's life.
     */
    public fun peek(): AccessToken? {
        val copy = place.copy.get()
        return if (copy != null && copy.epoch == epoch && copy.isUsable(gatepass.clock)) copy.token else null
    }

    /** As [peek], but only a token that need not be refreshed yet. */
    @GatepassPlatformApi
    public fun peekFresh(): AccessToken? {
        val copy = place.copy.get()
        return if (copy != null && copy.epoch == epoch && copy.isFresh(gatepass.clock)) copy.token else null
    }

    /** As [peek], for one of several APIs. Calls the native library; no I/O. */
    public fun peek(target: Target): AccessToken? = calling { ffi.peekFor(target.toFfi()) }?.let(::AccessToken)

    /**
     * A valid access token, refreshed first if need be. However many callers ask at once, at most one request is sent.
     * Where a refresh fails while the current token is still valid, the current token is returned.
     *
     * @throws GatepassException.SessionEnded if only a new sign-in helps; others if trying again can: the session lives on.
     */
    public suspend fun accessToken(): AccessToken = peekFresh() ?: AccessToken(calling { ffi.accessToken() }).also { renew() }

    /**
     * A valid access token for one of several APIs, or of a narrower scope, had with the same refresh token.
     *
     * @throws GatepassException as [accessToken]; [GatepassException.Configuration] if the target's scope was not granted.
     */
    public suspend fun accessToken(target: Target): AccessToken =
        AccessToken(calling { ffi.accessTokenFor(target.toFfi()) })

    /**
     * The token that belongs to a URL, refreshed first if need be; `null` if its origin is not one of [apis]. For an HTTP
     * client that Gatepass has no interceptor for: it must not follow redirects to other origins with the header.
     *
     * @throws GatepassException as [accessToken]; [GatepassException.Configuration] if the URL is not absolute.
     */
    public suspend fun authorize(url: String): AccessToken? = calling { ffi.authorize(url) }?.let(::AccessToken)

    /**
     * After an answer to a request for this URL with this token: if the answer refuses the token (RFC 6750 §3.1), a newer
     * one, refreshed if need be, to send the request again with, once. However many requests were refused at once, one
     * refresh is sent. `null` if a newer token would be of no use.
     *
     * @throws GatepassException as [accessToken].
     */
    public suspend fun reauthorize(
        url: String,
        token: AccessToken,
        status: Int,
        wwwAuthenticate: List<String>,
    ): AccessToken? = calling {
        ffi.reauthorize(url, token.value, status.coerceIn(0, 999).toUShort(), wwwAuthenticate)
    }?.let(::AccessToken)

    /**
     * Refreshes the tokens now, whatever the state of the current one. For servers that change what a token may do; an app
     * that calls APIs needs [accessToken] only.
     *
     * @throws GatepassException as [accessToken], without falling back to the current token.
     */
    public suspend fun refresh(): Unit = calling { ffi.refresh() }

    /** Whether the server gave a refresh token, so that the session outlives its access token. Reads storage. */
    public suspend fun canRefresh(): Boolean = calling { ffi.canRefresh() }

    /**
     * How much longer the current access token lives, in milliseconds; `null` if there is none, or the server did not say.
     * Calls the native library; no I/O.
     */
    public fun expiresInMillis(): Long? = ffi.expiresInMillis()?.coerceAtMost(Long.MAX_VALUE.toULong())?.toLong()

    /**
     * What the server's userinfo endpoint says of the user, as a JSON object (OpenID Connect Core §5.3). Asks the server
     * each time.
     *
     * @throws GatepassException.Configuration if the server has no such endpoint, or the sign-in did not ask for `openid`;
     *   [GatepassException.Protocol] if the answer is about another user; else as [accessToken].
     */
    public suspend fun userinfoJson(): String = calling { ffi.userinfoJson() }

    /**
     * Signs out. The local part is done, durably, before the server is asked, so it holds without a network; [peek] gives
     * `null` from here on. With [SignOut.END_SESSION] it then waits for the browser, for at most five minutes.
     *
     * @throws GatepassException only if secure storage cannot be written: then the user is not signed out.
     */
    public suspend fun signOut(how: SignOut = SignOut.REVOKE): SignedOut =
        calling { ffi.signOut(how.toFfi()) }.toSignedOut()

    /** [accessToken] for Java. */
    public fun accessTokenFuture(): CompletableFuture<AccessToken> =
        peekFresh()?.let { CompletableFuture.completedFuture(it) } ?: gatepass.promising { accessToken() }

    /** [accessToken] for Java. */
    public fun accessTokenFuture(target: Target): CompletableFuture<AccessToken> =
        gatepass.promising { accessToken(target) }

    /** [authorize] for Java. */
    public fun authorizeFuture(url: String): CompletableFuture<AccessToken?> = gatepass.promising { authorize(url) }

    /** [reauthorize] for Java. */
    public fun reauthorizeFuture(
        url: String,
        token: AccessToken,
        status: Int,
        wwwAuthenticate: List<String>,
    ): CompletableFuture<AccessToken?> = gatepass.promising { reauthorize(url, token, status, wwwAuthenticate) }

    /** [refresh] for Java. */
    public fun refreshFuture(): CompletableFuture<Void?> = gatepass.promising {
        refresh()
        null
    }

    /** [canRefresh] for Java. */
    public fun canRefreshFuture(): CompletableFuture<Boolean> = gatepass.promising { canRefresh() }

    /** [userinfoJson] for Java. */
    public fun userinfoJsonFuture(): CompletableFuture<String> = gatepass.promising { userinfoJson() }

    /** [signOut] for Java. */
    @JvmOverloads
    public fun signOutFuture(how: SignOut = SignOut.REVOKE): CompletableFuture<SignedOut> =
        gatepass.promising { signOut(how) }

    override fun toString(): String = "Session($id)"

    /** The same token may have longer to live than the copy says: a wall clock that was set back, or forth, since. */
    private fun renew() {
        val copy = place.copy.get()
        if (copy == null || copy.epoch != epoch || copy.isUsable(gatepass.clock)) return
        val snapshot = ffi.snapshot() ?: return
        // What the core publishes meanwhile is newer than this, and stays.
        if (snapshot.generation == copy.generation) {
            place.copy.compareAndSet(copy, TokenCopy.of(snapshot, epoch, gatepass.clock))
        }
    }
}

/** The verified claims of an ID token. Personal data: they do not print. */
public class Claims internal constructor(
    /**
     * Who the user is at this issuer: unique and never reassigned. The pair of issuer and subject is the identity; an e-mail
     * address is not.
     */
    public val subject: String,
    /** All of them, as a JSON object. */
    public val json: String,
) {
    override fun toString(): String = "Claims(redacted)"
}

/** An origin that tokens may be sent to (RFC 6454 §4). */
public class ApiOrigin internal constructor(
    /** `https`, or `http` on loopback. */
    public val scheme: String,
    /** The host in its one form: lower case, IDNs as they go over the wire, IPv6 addresses without brackets. */
    public val host: String,
    /** The port, named or not. */
    public val port: Int,
    /** Whether it takes the token that the sign-in asked for. Another one has a token of its own. */
    public val takesOwnToken: Boolean,
) {
    override fun toString(): String = "$scheme://$host:$port"
}
